import { shorten } from '../reference/repository-name.js';
import type { Secret } from '../secret.js';
import { repeatsShown } from './repeats-shown.js';

/** What an upstream's message must not hold on its way to a client. */
export interface Hidden {
  /** With its port. */
  readonly host: string;
  readonly userNames: readonly string[];
  /** The upstream's own name for it. */
  readonly repository?: string;
  /** The `Authorization` that this is the answer to. */
  readonly shown?: Secret;
}

/** Shorter names are parts of ordinary words. */
const longName = 4;
const maxMessage = 300;
/** Beyond what is shown: a name must not hide behind its end. */
const maxChecked = 2_000;

/** What tells of machines, of storage and of credentials, whoever's they are. */
const telling: readonly RegExp[] = [
  /\d{1,3}(?:\.\d{1,3}){3}/, // IPv4
  /::|(?:[\da-f]{1,4}:){7}[\da-f]/i, // IPv6
  /:\//, // a URL, or a bucket's path
  /(?<![\w./+-])(?:[a-z\d-]+\.)+[a-z\d-]+:\d{2,5}(?!\w)/i, // a host with its port
  /(?<![\w./+-])(?:[a-z\d-]+\.){2,}[a-z]{2,}(?![\w.+-])/i, // a host of three labels; no media type
  /\blocalhost\b/i,
  /(?:token|secret|passw(?:or)?d|pwd|sig(?:nature)?|credential)\w{0,20}["']?\s{0,3}[=:]\s{0,3}["']?[^\s"']/i,
];

/** The upstream's words, where they tell nothing of what stands behind our names. */
export function publicMessage(message: string | undefined, hidden: Hidden): string | undefined {
  if (message === undefined) return undefined;
  const checked = message.slice(0, maxChecked);
  if (telling.some((pattern) => pattern.test(checked))) return undefined;
  if (hidden.shown !== undefined && repeatsShown(checked, hidden.shown)) return undefined;
  const lower = checked.toLowerCase();
  if (namesOf(hidden).some((name) => mentions(lower, name.toLowerCase()))) return undefined;
  return shorten(message, maxMessage);
}

/**
 * A route replaces whole components in front of a name: the last one is the client's own, and no other may be. The whole
 * name, too, is another than the client's.
 */
function namesOf({ host, userNames, repository }: Hidden): readonly string[] {
  const hostname = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  const components = repository?.split('/').slice(0, -1) ?? [];
  return [host, hostname, ...userNames, ...components, repository ?? ''];
}

/** A short name only counts as a word of its own. */
function mentions(text: string, name: string): boolean {
  if (name === '') return false;
  if (name.length >= longName) return text.includes(name);
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!isWordCharacter(text[at - 1]) && !isWordCharacter(text[at + name.length])) return true;
  }
  return false;
}

function isWordCharacter(character: string | undefined): boolean {
  return character !== undefined && /[\p{L}\p{N}]/u.test(character);
}
