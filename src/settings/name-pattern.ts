import { z } from 'zod';

const expected = "expected a name, where * stands for any characters, such as '_gcp' or 'robot-*'";

/** Names by a pattern that is anchored at both ends: `*` stands for any characters, everything else for itself. */
export class NamePattern {
  readonly text: string;
  readonly #pieces: readonly string[];

  constructor(text: string) {
    this.text = text;
    this.#pieces = text.split('*');
  }

  /** Takes the time of the name's length, whatever the pattern is. */
  matches(name: string): boolean {
    const [first = '', ...rest] = this.#pieces;
    const last = rest.pop();
    if (last === undefined) return name === first;
    if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
      return false;
    const end = name.length - last.length;
    let at = first.length;
    for (const piece of rest) {
      const found = name.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  }

  toString(): string {
    return this.text;
  }
}

/** What YAML reads as something else than the text it looks like: `1`, `true`, `1.20`. */
const isBareScalar = (input: unknown) => typeof input === 'number' || typeof input === 'boolean';

export const namePattern = () =>
  z
    .string({
      error: ({ input }) => (isBareScalar(input) ? 'expected a text: write it in quotes' : expected),
    })
    .min(1, expected)
    .max(255, expected)
    .transform((text) => new NamePattern(text))
    .meta({ title: 'pattern' });
