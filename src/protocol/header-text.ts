/** Longer values of a header are not parsed. */
export const maxHeaderLength = 16_384;

/** Reads a header's value from the left, pattern by pattern. */
export class HeaderText {
  readonly #text: string;
  /** Where the next pattern has to match. */
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The character here; undefined at the end. */
  get next(): string | undefined {
    return this.#text[this.at];
  }

  /** Takes what a sticky pattern matches here, and moves behind it. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text) ?? undefined;
    if (match) this.at = pattern.lastIndex;
    return match;
  }
}

/** What stands between the quotes of a quoted-string (RFC 9110 section 5.6.4), without its escapes. */
export function unquote(text: string): string {
  return text.replace(/\\(.)/gs, '$1');
}

/** @returns a quoted-string with its quotes */
export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, (character) => `\\${character}`)}"`;
}
