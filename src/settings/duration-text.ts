export const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `30s`, `5m`, `12h`, `30d`. */
export const durationGrammar = /^(\d+)(ms|s|m|h|d)$/;

/** Milliseconds of a duration that matches the grammar; 0 for any other text. */
export function milliseconds(text: string): number {
  const match = durationGrammar.exec(text);
  return match ? Number(match[1]) * units[match[2] as keyof typeof units] : 0;
}
