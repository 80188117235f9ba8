import type { ProbeStep } from '../contracts/index.js';
import type { Connection } from './check-connect-tries.js';
import { columnWidths, printable, textTable } from './text-table.js';

type Step = ProbeStep['step'];

const heading = ['UPSTREAM', 'REGISTRY', 'CREDENTIAL', 'NAME', '/v2/', 'TOKEN', 'ACCESS'];
/** The columns that are cut where a line would be too long, the first one first, and how far. */
const cuttable = [
  { column: 1, atLeast: 20 },
  { column: 2, atLeast: 24 },
  { column: 0, atLeast: 12 },
];

export function hasFailed({ steps }: Connection): boolean {
  return steps.some(({ result }) => result === 'failed');
}

/**
 * A table of all connections, and below it what to do about those that failed.
 *
 * @param maxWidth characters of a line of the table
 */
export function connectionReport(connections: readonly Connection[], maxWidth: number): string {
  const rows = [heading, ...connections.map(row)].map((cells) => cells.map(printable));
  const remarks = connections.flatMap(remarksOn).map((line) => `${printable(line)}\n`);
  const failed = connections.filter(hasFailed).length;
  const sum = failed === 0 ? 'all upstreams: fine' : `failed: ${failed} of ${connections.length}`;
  return `${textTable(narrowed(rows, maxWidth))}\n${remarks.join('')}${sum}\n`;
}

function row(connection: Connection): readonly string[] {
  const cell = (step: Step) => cellOf(connection.steps, step);
  return [
    connection.upstream,
    connection.registry,
    credentialCell(connection),
    ...[cell('name'), cell('registry'), cell('token'), cell('access')],
  ];
}

function cellOf(steps: readonly ProbeStep[], step: Step): string {
  const found = steps.find((one) => one.step === step);
  if (found === undefined || found.result === 'not needed') return '-';
  return found.result === 'fine' ? 'ok' : 'FAILED';
}

function credentialCell({ credential: { type, place }, steps }: Connection): string {
  const name = place === undefined ? type : `${type} ${place}`;
  const found = steps.find(({ step }) => step === 'credential');
  if (type === 'anonymous' || found === undefined) return name;
  return `${name}: ${found.result === 'failed' ? 'FAILED' : found.said}`;
}

function narrowed(rows: readonly (readonly string[])[], maxWidth: number): readonly (readonly string[])[] {
  let cut = rows;
  for (const { column, atLeast } of cuttable) {
    const widths = columnWidths(cut);
    const over = widths.reduce((sum, width) => sum + width + 2, -2) - maxWidth;
    const width = Math.max(atLeast, (widths[column] ?? 0) - over);
    if (over <= 0) continue;
    const short = shortened(
      cut.map((cells) => cells[column] ?? ''),
      width,
    );
    cut = cut.map((cells, n) => cells.map((cell, i) => (i === column ? (short[n] ?? '') : cell)));
  }
  return cut;
}

/** Those that are too long are cut so that different ones stay different, where one of the ways does that. */
function shortened(texts: readonly string[], width: number): readonly string[] {
  const long = [...new Set(texts.filter((text) => text.length > width))];
  // Hosts of one registry's accounts and regions end alike.
  const end = commonEnd(long);
  const ways: readonly ((text: string) => string)[] = [
    (text) => cutMiddle(text, width),
    (text) => `${cutMiddle(text.slice(0, text.length - end), width - 1)}…`,
    (text) => `…${text.slice(0, text.length - end).slice(2 - width)}…`,
  ];
  const way = ways.find((one) => new Set(long.map(one)).size === long.length) ?? ways[0];
  return texts.map((text) => (text.length > width && way !== undefined ? way(text) : text));
}

function cutMiddle(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${text.slice(text.length - end)}`;
}

/** Characters of the labels (`.amazonaws.com`) that all end with. */
function commonEnd(texts: readonly string[]): number {
  const [first = ''] = texts;
  const dots = [...first.matchAll(/\./g)].map(({ index }) => first.slice(index));
  return dots.find((end) => texts.every((text) => text.endsWith(end)))?.length ?? 0;
}

const stepNames: Readonly<Record<Step, string>> = {
  name: 'name',
  credential: 'credential',
  registry: '/v2/',
  token: 'token',
  access: 'access',
};

function remarksOn(connection: Connection): readonly string[] {
  const { upstream, registry, credential, steps } = connection;
  const who = `${upstream} (${registry}${credential.place === undefined ? '' : `, credential ${credential.place}`})`;
  const failures = steps
    .filter(({ result }) => result === 'failed')
    .flatMap((step) => {
      const fix = fixFor(step, connection);
      return [
        `${who}: ${stepNames[step.step]}: ${step.said}`,
        ...(fix === undefined ? [] : [`  fix: ${fix}`]),
      ];
    });
  return [...failures, ...(failures.length === 0 ? notesOn(who, connection) : [])];
}

function fixFor(
  { step, fix, isUnanswered = false }: ProbeStep,
  { credential: { isUsual, setting } }: Connection,
): string | undefined {
  if (step !== 'credential' && step !== 'token' && step !== 'access') return fix;
  const own = fix?.replace('`credentials`', `\`${setting}\``);
  if (!isUsual || !isUnanswered || step !== 'credential') return own;
  // Whoever wants what is public alone has never heard of these credentials.
  return `${own ?? 'set `credentials`'}; for what is public alone: credentials: { type: anonymous }`;
}

/** What is no fault, and may not be what was meant. */
function notesOn(who: string, { credential: { type }, steps }: Connection): readonly string[] {
  const unneeded = (step: Step) => steps.find((one) => one.step === step && one.result === 'not needed');
  const missing = type !== 'anonymous' && unneeded('credential') !== undefined;
  const access = unneeded('access');
  return [
    ...(missing ? [`${who}: ${type} has no credential for it`] : []),
    ...(access === undefined ? [] : [`${who}: ${access.said}`]),
  ];
}
