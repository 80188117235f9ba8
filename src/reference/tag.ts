/** OCI distribution-spec v1.1, "Pulling manifests": `<reference>` as a tag; 128 characters at most. */
const grammar = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

declare const brand: unique symbol;

/** A valid tag, such as `latest`. Made by `parseReference` and `parseImageReference` only. */
export type Tag = string & { readonly [brand]: 'Tag' };

export function isTag(text: string): text is Tag {
  return grammar.test(text);
}
