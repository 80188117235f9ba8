import { RegistryError } from '../errors.js';

/** OCI distribution-spec v1.1, "Pulling manifests": the grammar of `<name>`; 255 characters at most. */
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const grammar = new RegExp(`^${component}(?:/${component})*$`);
const componentGrammar = new RegExp(`^${component}$`);
const maxLength = 255;

declare const brand: unique symbol;

/** A valid repository name, such as `my-gcp-project/my-image`. Made by `parseRepositoryName` only. */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= maxLength && grammar.test(text);
}

/** True for one path component of a repository name: no slash, no upper case, nothing a glob could mean. */
export function isRepositoryComponent(text: string): boolean {
  return text.length <= maxLength && componentGrammar.test(text);
}

/** @throws RegistryError NAME_INVALID */
export function parseRepositoryName(text: string): RepositoryName {
  if (!isRepositoryName(text)) throw new RegistryError('NAME_INVALID', { detail: { name: shorten(text) } });
  return text;
}

/** Untrusted text for an error's detail: bounded, without control characters. */
export function shorten(text: string, length = 128): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
  return clean.length <= length ? clean : `${clean.slice(0, length)}…`;
}
