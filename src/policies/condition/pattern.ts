import { RE2JS } from 're2js';

/** Of the compiled program: with the length of a text it bounds the time a match takes. */
const maxProgram = 1_000;
/** Characters. */
const maxText = 4_096;

/** A regular expression whose matching takes time in proportion to the text, whatever a client puts there. */
export interface Pattern {
  /** True where it matches anywhere in the text. @throws Error for a text that is too long */
  isIn(text: string): boolean;
}

/** @param text RE2's syntax, as in Kubernetes. @throws Error with a one-line message */
export function parsePattern(text: string): Pattern {
  const compiled = RE2JS.compile(text);
  if (compiled.programSize() > maxProgram) throw new Error('the regular expression is too large');
  return {
    isIn(searched) {
      if (searched.length > maxText)
        throw new Error(`matches(): the text is longer than ${maxText} characters`);
      return compiled.test(searched);
    },
  };
}
