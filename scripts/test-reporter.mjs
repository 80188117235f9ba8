import { Readable } from 'node:stream';
import { spec } from 'node:test/reporters';

/** The reason to skip that stands even where everything is said to be installed. */
const excused = /shared vectors/;

/** Node's own `spec` report, with a list of what was skipped, and why, before its summary. */
export default async function* report(events) {
  yield* Readable.from(withSkipped(events)).pipe(new spec());
}

async function* withSkipped(events) {
  const skipped = [];
  for await (const event of events) {
    if (event.type === 'test:pass' && event.data.skip !== undefined) skipped.push(event.data);
    if (isSummary(event)) yield* skippedLines(skipped.splice(0));
    yield event;
  }
}

/** The first line of the summary: `tests N`. */
function isSummary(event) {
  return (
    event.type === 'test:diagnostic' && event.data.nesting === 0 && /^tests \d+$/.test(event.data.message)
  );
}

function* skippedLines(skipped) {
  for (const { name, skip } of skipped) {
    const reason = typeof skip === 'string' && skip !== '' ? skip : 'no reason given';
    yield line(`skipped: ${name}: ${reason}`);
    if (!process.env.REQUIRE_PROGRAMS || excused.test(reason)) continue;
    yield line('  not allowed with REQUIRE_PROGRAMS');
    process.exitCode = 1;
  }
}

function line(message) {
  return { type: 'test:diagnostic', data: { nesting: 0, message } };
}
