import { Filter, FilterParser } from 'ldapts';
import { z } from 'zod';
import { namingAttributes } from './distinguished-name.js';

/** What a template may name: the user, and the DN of the entry that was found for them. */
export type Placeholder = 'username' | 'dn';

const placeholder = /\{([^{}]*)\}/g;

/**
 * Escapes a value for a filter (RFC 4515 section 3), so that it stands for itself and for nothing else (threat 15).
 */
export function escapeFilterValue(value: string): string {
  return Filter.escape(value);
}

/**
 * Escapes a value for a place in a DN (RFC 4514 section 2.4). Every special character becomes a pair of hexadecimal
 * digits, wherever it stands: no rule about first and last characters can be got wrong.
 */
export function escapeDnValue(value: string): string {
  return value.replace(
    /[\0-\x20"#+,;<=>\\\x7f]/g,
    (character) => `\\${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** A filter with places for values, which are escaped as they are put in. */
export class FilterTemplate {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  names(name: Placeholder): boolean {
    return this.text.includes(`{${name}}`);
  }

  fill(values: Readonly<Partial<Record<Placeholder, string>>>): string {
    return this.#replace((name) => escapeFilterValue(values[name as Placeholder] ?? ''));
  }

  /** The filter for anybody: `*` in each place. */
  forAnybody(): string {
    return this.#replace(() => '*');
  }

  /** True where the user's name is compared with this attribute and with nothing else. */
  comparesOnly(attribute: string): boolean {
    const comparison = `(${attribute}={username})`.toLowerCase();
    return !this.text.toLowerCase().replaceAll(comparison, '').includes('{username}');
  }

  toString(): string {
    return this.text;
  }

  #replace(value: (name: string) => string): string {
    const filled = this.text.replace(placeholder, (_, name: string) => value(name));
    return filled.startsWith('(') ? filled : `(${filled})`;
  }
}

/** A filter with places for the values of `{dn}` and `{username}`, one of them at least. */
export function memberFilter() {
  return filterWith('expected a filter with {dn} or {username} for a value, such as (member={dn})', (text) =>
    hasPlaces(text, ['dn', 'username'], value),
  );
}

/** A filter with places for `{username}`; only in plain comparisons, for `*` must mean anybody there. */
export function userFilter() {
  const expected = 'expected a filter that compares an attribute with {username}, such as (uid={username})';
  return filterWith(expected, (text) => hasPlaces(text, ['username'], plainValue));
}

/** What stands before a place that is a value, or a part of one. */
const value = /=[^()=]*$/;
const plainValue = /[\w-]=[^()=]*$/;

function filterWith(expected: string, isRight: (text: string) => boolean) {
  return z
    .string({ error: expected })
    .refine((text) => isRight(text) && isFilter(text), expected)
    .transform((text) => new FilterTemplate(text))
    .meta({ title: 'filter' });
}

/** A DN with a place for the user's name, which is escaped as it is put in. */
export class DnTemplate {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** What the user's name is, or is a part of, in the entry's own part of the DN. */
  get namingAttributes(): readonly string[] {
    return namingAttributes(this.text, '{username}');
  }

  fill(username: string): string {
    return this.text.replaceAll('{username}', () => escapeDnValue(username));
  }

  toString(): string {
    return this.text;
  }
}

export function dnTemplate() {
  const expected = 'expected a DN with {username} in it, such as uid={username},ou=people,dc=example,dc=com';
  return z
    .string({ error: expected })
    .refine((text) => hasPlaces(text, ['username'], value), expected)
    .transform((text) => new DnTemplate(text))
    .meta({ title: 'DN' });
}

function hasPlaces(text: string, allowed: readonly string[], before: RegExp): boolean {
  const found = [...text.matchAll(placeholder)];
  return (
    found.length > 0 &&
    found.every((match) => allowed.includes(match[1] ?? '') && before.test(text.slice(0, match.index)))
  );
}

function isFilter(text: string): boolean {
  try {
    FilterParser.parseString(text.replace(placeholder, 'x'));
    return true;
  } catch {
    return false;
  }
}
