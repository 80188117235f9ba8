import { Readable } from 'node:stream';

const summaryLine = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

/**
 * The events of several runs of `node:test` at the same time as one run would give them: with one summary, at the end.
 *
 * @param {readonly Readable[]} runs
 * @returns {Readable}
 */
export function merged(runs) {
  const lines = new Map();
  const summaries = [];
  const events = new Readable({ objectMode: true, read: () => undefined });
  let left = runs.length;
  for (const run of runs) {
    run.on('data', (event) => {
      const [, name, value] = (isOfRun(event) && summaryLine.exec(event.data.message ?? '')) || [];
      if (name !== undefined) lines.set(name, together(name, lines.get(name) ?? 0, Number(value)));
      else if (event.type === 'test:summary' && event.data.file === undefined) summaries.push(event.data);
      else events.push(event);
    });
    run.on('error', (error) => events.destroy(error));
    run.on('end', () => {
      left--;
      if (left > 0) return;
      for (const [name, value] of lines) events.push(line(`${name} ${value}`));
      if (summaries.length > 0) events.push(summaryOf(summaries));
      events.push(null);
    });
  }
  return events;
}

const isOfRun = ({ type, data }) => type === 'test:diagnostic' && data.nesting === 0;

/** They ran at the same time. */
const together = (name, one, other) => (name === 'duration_ms' ? Math.max(one, other) : one + other);

const line = (message) => ({ type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } });

/** Newer ones of Node have it, beside the lines. */
function summaryOf(summaries) {
  const names = Object.keys(summaries[0].counts);
  const sum = (name) => summaries.reduce((total, { counts }) => total + counts[name], 0);
  return {
    type: 'test:summary',
    data: {
      success: summaries.every(({ success }) => success),
      counts: Object.fromEntries(names.map((name) => [name, sum(name)])),
      duration_ms: Math.max(...summaries.map(({ duration_ms }) => duration_ms)),
    },
  };
}
