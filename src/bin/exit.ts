/** What scripts can rely on. */
export const exitCodes = { fine: 0, failed: 1, usage: 2 } as const;

/** Says why on standard error, and ends. */
export function fail(message: string, code: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}
