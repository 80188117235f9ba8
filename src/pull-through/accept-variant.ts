import { LRUCache } from 'lru-cache';

const known = new LRUCache<string, string>({ max: 200 });

/**
 * What a client accepts, in one text for all ways to write it. A registry answers the same tag with an index or with one
 * manifest of it, as the client can read them (distribution's `manifest_list` conversion). Weights are left out: no
 * registry looks at them.
 */
export function acceptVariant(accept: string | undefined): string {
  if (accept === undefined) return '';
  const found = known.get(accept);
  if (found !== undefined) return found;
  const types = accept
    .toLowerCase()
    .split(',')
    .map((type) => (type.split(';', 1)[0] ?? '').trim())
    .filter((type) => type !== '');
  const variant = [...new Set(types)].sort().join(',');
  known.set(accept, variant);
  return variant;
}
