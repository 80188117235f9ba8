import type { ImagePattern } from '../../settings/image-pattern.js';
import { HelperError } from '../one-question/helper-error.js';

/** Labels of a host that a `*` of ours may stand for: one of kubelet's stands for one. */
export const mostLabels = 5;
/** More say that the pattern is something else. */
const mostPatterns = 64;

/**
 * What kubelet calls a provider for, so that it does for every image of a pattern: a host where `*` stands for any
 * characters but a dot, the same port, and a path that images' paths begin with (kubernetes
 * `pkg/credentialprovider/keyring.go`, `URLsMatchStr`). It may be for more images than the pattern: the answer for those
 * is empty.
 *
 * @throws HelperError for a host with too many `*`
 */
export function matchImages({ text, host, repositories }: ImagePattern): readonly string[] {
  const [first] = repositories.parts;
  const path = first?.kind === 'literal' ? `/${first.text}` : '';
  const hosts = hostGlobs(host.text);
  if (hosts.length > mostPatterns) {
    throw new HelperError(`${text}: kubelet would need ${hosts.length} patterns for it; write fewer *`, 2);
  }
  return hosts.map((one) => `${one}${path}`);
}

/** Each `*` for one label up to `mostLabels`; more of them have together no more labels beyond their first ones. */
function hostGlobs(host: string): readonly string[] {
  const pieces = host.split(/\*+/);
  const globs = new Set<string>();
  const extend = (glob: string, at: number, more: number): void => {
    const piece = pieces[at];
    if (piece === undefined) {
      globs.add(glob);
      return;
    }
    for (let count = 0; count <= more; count++) {
      extend(`${glob}*${'.*'.repeat(count)}${piece}`, at + 1, more - count);
    }
  };
  extend(pieces[0] ?? '', 1, mostLabels - 1);
  return [...globs];
}
