import { suggest } from '../plugins/suggest.js';
import { ownName } from './core-schema.js';

/** The names in a raw configuration that others may refer to. */
export class KnownNames {
  readonly #all: readonly string[];
  readonly #good: readonly string[];

  /** @param all also those that are no good names: they have a problem of their own */
  constructor(all: readonly string[]) {
    this.#all = all;
    this.#good = all.filter((one) => ownName().safeParse(one).success);
  }

  get first(): string | undefined {
    return this.#good[0];
  }

  /**
   * @returns `unknown verifier 'x'; known: …`; undefined where it is known, or was meant to be one that is no good name:
   * whoever mends that mends this
   */
  complaint(what: string, name: string): string | undefined {
    if (this.#all.includes(name)) return undefined;
    const meant = suggest(name, this.#all);
    if (meant !== undefined && !this.#good.includes(meant)) return undefined;
    const known = this.#good.length === 0 ? 'there are none' : `known: ${this.#good.join(', ')}`;
    const hint = meant === undefined ? '' : `, did you mean '${meant}'?`;
    return `unknown ${what} '${name}'; ${known}${hint}`;
  }
}
