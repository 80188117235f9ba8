import { z } from 'zod';
import type { ImageReference } from '../reference/image-reference.js';
import { isRegistryHost } from '../reference/registry-host.js';
import { matchesRepositoryGlob, parseGlob, type RepositoryGlob } from '../reference/repository-glob.js';
import { explainImagePattern } from './image-pattern-mistakes.js';
import { NamePattern } from './name-pattern.js';

const expected =
  "expected a registry's host and a pattern of repositories, such as docker.example.com/** or *.example.com/team/*";

/** Images by registry and repository: `docker.example.com/**`, `*.internal/team/*`. Tags and digests do not count. */
export class ImagePattern {
  readonly text: string;
  /** `*` stands for any characters, dots with them. */
  readonly host: NamePattern;
  /** `*` within one component, `**` anything. */
  readonly repositories: RepositoryGlob;

  constructor(host: string, repositories: RepositoryGlob) {
    this.text = `${host}/${repositories.text}`;
    this.host = new NamePattern(host);
    this.repositories = repositories;
  }

  matches({ repository }: ImageReference): boolean {
    return (
      this.host.matches(repository.registry) && matchesRepositoryGlob(this.repositories, repository.name)
    );
  }

  toString(): string {
    return this.text;
  }
}

/** @returns undefined where the text is no such pattern */
export function parseImagePattern(text: string): ImagePattern | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const host = text.slice(0, slash).toLowerCase();
  const repositories = parseGlob(text.slice(slash + 1));
  if (!isHostPattern(host) || !isKnownAsHost(host) || typeof repositories === 'string') return undefined;
  if (repositories.parts.some(({ kind }) => kind === 'value')) return undefined;
  if (repositories.text.split('/').includes('')) return undefined;
  return new ImagePattern(host === 'index.docker.io' ? 'docker.io' : host, repositories);
}

/**
 * A registry's host, or a pattern of hosts. Whoever has the end of a name has the name: what stands behind the last `*`
 * decides whose credentials go there.
 */
export function isHostPattern(text: string): boolean {
  const last = text.lastIndexOf('*');
  if (last < 0) return isRegistryHost(text);
  return (
    text[last + 1] === '.' &&
    isRegistryHost(text.slice(last + 2)) &&
    isRegistryHost(text.replaceAll('*', 'x'))
  );
}

/** distribution/reference: in `acme/app` the first part is a namespace of docker.io, and no rule would ever match it. */
function isKnownAsHost(host: string): boolean {
  return /[.:]/.test(host) || host === 'localhost';
}

export const imagePattern = () =>
  z
    .string({ error: expected })
    .transform((text, context) => {
      const pattern = text.length > 512 ? undefined : parseImagePattern(text);
      if (pattern !== undefined) return pattern;
      const mistake = text.length > 512 ? 'is longer than 512 characters' : explainImagePattern(text);
      context.addIssue({
        code: 'custom',
        message: mistake === undefined ? expected : `${mistake}; ${expected}`,
      });
      return z.NEVER;
    })
    .meta({ title: 'image pattern' });
