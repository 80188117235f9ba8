import { z } from 'zod';
import type { Clock, TokenIssuer } from '../contracts/index.js';
import { openSealedText, sealText } from '../protocol/sealed-text.js';

/** Characters: what browsers take for a cookie, with its name and attributes. */
const maxLength = 3_800;

/** What a cookie holds. */
export interface OpenedValue<T> {
  readonly value: T;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * Values that a browser keeps for us in a cookie: sealed with a key that all replicas share, so that nobody can read
 * one, make one, or use one for another purpose or after its time.
 */
export class SealedValue<T> {
  readonly #tokens: Pick<TokenIssuer, 'derivedKeys'>;
  readonly #clock: Clock;
  readonly #purpose: string;
  readonly #schema: z.ZodType<{ value: T; until: number }>;

  constructor(
    tokens: Pick<TokenIssuer, 'derivedKeys'>,
    clock: Clock,
    { purpose, schema }: { readonly purpose: string; readonly schema: z.ZodType<T> },
  ) {
    this.#tokens = tokens;
    this.#clock = clock;
    this.#purpose = purpose;
    this.#schema = z.object({ value: schema, until: z.number() }) as z.ZodType<{ value: T; until: number }>;
  }

  /** @param expiresAt milliseconds since the epoch @param boundTo what has to be said again to open it */
  seal(value: T, expiresAt: number, boundTo = ''): string {
    const text = JSON.stringify({ value, until: expiresAt });
    return sealText(this.#tokens.derivedKeys(this.#purpose), text, boundTo);
  }

  /** @returns undefined where it is absent, forged, of another purpose, bound to something else, or too old */
  open(sealed: string | undefined, boundTo = ''): OpenedValue<T> | undefined {
    if (sealed === undefined || sealed.length > maxLength) return undefined;
    const text = openSealedText(this.#tokens.derivedKeys(this.#purpose), sealed, boundTo);
    const opened = text === undefined ? undefined : this.#schema.safeParse(JSON.parse(text)).data;
    if (opened === undefined || opened.until <= this.#clock.now()) return undefined;
    return { value: opened.value, expiresAt: opened.until };
  }
}
