import type { z } from 'zod';

const units = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  μs: 0.001,
  ns: 0.000_001,
} as const;
const piece = '(\\d+\\.?\\d*|\\.\\d+)(ns|us|µs|μs|ms|s|m|h)';
const grammar = new RegExp(`^[-+]?(?:0|(?:${piece})+)$`);

/**
 * A length of time as Go writes it (`time.ParseDuration`): `12h`, `1h30m`, `0`. For a schema's `transform`.
 *
 * @returns milliseconds
 */
export function goDuration(text: string, context: z.core.$RefinementCtx<string>): number {
  if (text.length > 64 || !grammar.test(text)) {
    context.addIssue('expected a duration such as 12h');
    return 0;
  }
  let sum = 0;
  for (const [, number, unit] of text.matchAll(new RegExp(piece, 'g'))) {
    sum += Number(number) * units[unit as keyof typeof units];
  }
  return text.startsWith('-') ? -sum : sum;
}
