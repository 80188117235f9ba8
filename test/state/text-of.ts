/** A value that shows whether it is whole, and how often something was written; up to 40 KiB. */
export function textOf(count: number): string {
  const body = String.fromCharCode(97 + (count % 26)).repeat((count * 7919) % 40_000);
  return `${count}:${body}:${count}`;
}

/** @returns undefined where it is not one that `textOf` made */
export function countOf(value: string): number | undefined {
  const count = Number(value.split(':')[0]);
  return Number.isSafeInteger(count) && value === textOf(count) ? count : undefined;
}
