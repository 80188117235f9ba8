import { z } from 'zod';
import { durationGrammar as grammar, milliseconds, units } from './duration-text.js';

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

/** Writes milliseconds as a person would: in the largest unit that needs no fraction. */
export function printDuration(value: number): string {
  const unit = (['d', 'h', 'm', 's'] as const).find(
    (name) => value >= units[name] && value % units[name] === 0,
  );
  return `${value / units[unit ?? 'ms']}${unit ?? 'ms'}`;
}
