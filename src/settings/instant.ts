/** RFC 3339, "Internet Date/Time Format", in upper case. */
const grammar = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** @returns milliseconds since the epoch; undefined for what is no time such as 2026-01-31T12:00:00Z */
export function parseInstant(text: string): number | undefined {
  const time = grammar.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
