/** For sorting, the same in every locale. */
export function order(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** ISO 8601, without the milliseconds that mean nothing in a list. @param milliseconds since the epoch */
export function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
