const units: readonly (readonly [milliseconds: number, ...names: readonly string[]])[] = [
  [0.001, 'usec', 'us', 'µs', 'μs'],
  [1, 'msec', 'ms'],
  [1_000, 'seconds', 'second', 'sec', 's', ''],
  [60_000, 'minutes', 'minute', 'min', 'm'],
  [3_600_000, 'hours', 'hour', 'hr', 'h'],
  [86_400_000, 'days', 'day', 'd'],
  [604_800_000, 'weeks', 'week', 'w'],
  [2_629_800_000, 'months', 'month', 'M'],
  [31_557_600_000, 'years', 'year', 'y'],
];

const milliseconds = new Map(
  units.flatMap(([value, ...names]) => names.map((name) => [name, value] as const)),
);

/**
 * Reads what a unit says of a time, such as `1min 30s`; without a unit it is seconds (systemd.time(7), PARSING TIME
 * SPANS).
 *
 * @returns milliseconds, Infinity for `infinity`; undefined where systemd would take no notice of it
 */
export function readTimeSpan(text: string): number | undefined {
  if (text.trim() === 'infinity') return Number.POSITIVE_INFINITY;
  const part = /(\d+(?:\.\d*)?)\s*(\p{L}*)/gu;
  if (text.trim() === '' || text.replace(part, '').trim() !== '') return undefined;
  let sum = 0;
  for (const [, count, unit = ''] of text.matchAll(part)) {
    const value = milliseconds.get(unit);
    if (value === undefined) return undefined;
    sum += Number(count) * value;
  }
  return sum;
}
