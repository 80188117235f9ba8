import type { Tag } from './tag.js';

/**
 * A text without the tag that somebody chose: it may be `unauthorized`, and is no reason then. Whole words only, wherever
 * they stand.
 *
 * A number is taken away only where a tag is named by it, as in `manifests/404` and `tag 404`: builds are numbered, and
 * elsewhere it is the status of an answer.
 */
export function withoutTag(text: string, tag: Tag): string {
  const word = tag.replaceAll('.', '\\.');
  const before = /^\d+$/.test(tag) ? '(?<=[/"\'`=]|\\b(?:manifests?|tag(?:ged by)?):? )' : '(?<![\\w.-])';
  return text.replace(new RegExp(`${before}${word}(?![\\w-]|\\.\\w)`, 'g'), 'TAG');
}
