import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Access, Clock } from '../contracts/index.js';
import type { SigningKey } from './signing-key.js';

/** Tokens at the same time: a client shows each of its own some hundred times in minutes. */
const most = 10_000;

interface Opened {
  readonly access: Access;
  /** Whose signature counted. */
  readonly key: SigningKey;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
}

/**
 * Tokens whose signature was verified: that costs more than all else that is done for a manifest. What can change about a
 * token is looked at each time: the clock, and whether its key still counts. The tokens themselves are not kept.
 */
export class OpenedTokens {
  readonly #opened = new LRUCache<string, Opened>({ max: most });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param published the keys that count now. @returns undefined where it has to be verified */
  find(token: string, service: string, published: readonly SigningKey[]): Access | undefined {
    const name = nameOf(token, service);
    const found = this.#opened.get(name);
    if (found === undefined) return undefined;
    const { access, key, notBefore } = found;
    const now = this.#clock.now();
    // Whole seconds, as RFC 7519 has them.
    const isNow = Math.floor(now / 1000) * 1000 < access.expiresAt && notBefore <= now;
    if (isNow && published.includes(key)) return access;
    this.#opened.delete(name);
    return undefined;
  }

  add(token: string, service: string, opened: Opened): void {
    // It is handed out again and again.
    Object.freeze(opened.access);
    Object.freeze(opened.access.principal);
    this.#opened.set(nameOf(token, service), opened);
  }
}

function nameOf(token: string, service: string): string {
  return hash('sha256', `${service}\0${token}`, 'base64');
}
