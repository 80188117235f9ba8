import { z } from 'zod';

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const grammar = /^(\d+)(ms|s|m|h|d)$/;

/** A length of time in a configuration, such as `30s`, `5m`, `12h` or `30d`. Parses to milliseconds. */
export function duration(limits: { readonly min?: string; readonly max?: string } = {}) {
  const expected = `a duration such as 30s, 5m, 12h or 30d${limits.min ? `, at least ${limits.min}` : ''}${
    limits.max ? `, at most ${limits.max}` : ''
  }`;
  return z
    .string({ error: `expected ${expected}` })
    .regex(grammar, { error: `expected ${expected}`, abort: true })
    .refine((text) => {
      const value = milliseconds(text);
      return value >= milliseconds(limits.min ?? '0s') && value <= milliseconds(limits.max ?? '36500d');
    }, `expected ${expected}`)
    .transform(milliseconds)
    .meta({ title: 'duration' });
}

/** Milliseconds of a duration that matches the grammar; 0 for any other text. */
export function milliseconds(text: string): number {
  const match = grammar.exec(text);
  return match ? Number(match[1]) * units[match[2] as keyof typeof units] : 0;
}

/** Writes milliseconds as a person would: in the largest unit that needs no fraction. */
export function printDuration(value: number): string {
  const unit = (['d', 'h', 'm', 's'] as const).find(
    (name) => value >= units[name] && value % units[name] === 0,
  );
  return `${value / units[unit ?? 'ms']}${unit ?? 'ms'}`;
}
