import { isRegistryHost } from '../reference/registry-host.js';

/**
 * What is usually wrong with a text that is no image pattern: the first that fits, in words that can be followed by
 * what was expected. It quotes hosts alone, for a URL may hold a password.
 *
 * @returns undefined where nothing of this is
 */
export function explainImagePattern(text: string): string | undefined {
  if (text.trim() !== text) return 'begins or ends with a space';
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) return 'begins with a scheme: leave it out';
  const slash = text.indexOf('/');
  if (slash < 0) return withoutRepositories(text);
  return hostMistake(text.slice(0, slash), text) ?? repositoryMistake(text.slice(slash + 1));
}

function withoutRepositories(text: string): string | undefined {
  const host = text.toLowerCase();
  if (/[.:]/.test(host) || host === 'localhost') {
    return isRegistryHost(host) && !/:(?!\d+$)/.test(host)
      ? `names no repositories: write ${host}/**`
      : undefined;
  }
  return isPart(host) ? `names no registry: write docker.io/library/${host}` : undefined;
}

function hostMistake(host: string, text: string): string | undefined {
  if (host === '') return 'begins with a slash';
  if (host.includes('@')) return 'names a user: leave it out, `credentials` say who asks';
  if (/[{}[\]?]/.test(host.replace(/^\[[a-fA-F0-9:]+\](?=:|$)/, '')))
    return 'has braces, brackets or a ? in its host: * alone is known, and other hosts are rules of their own';
  const last = host.lastIndexOf('*');
  if (last >= 0) {
    const isClosed = host[last + 1] === '.' && host.length > last + 2;
    return isClosed
      ? undefined
      : 'leaves the end of the host open, and who owns the end of a name owns the name: the last * of the host has a dot and a domain behind it';
  }
  if (/[.:]/.test(host) || host.toLowerCase() === 'localhost' || !isPart(host.toLowerCase()))
    return undefined;
  const hub = text.length < 100 && /^[a-z0-9._/*-]+$/.test(text) ? `docker.io/${text}` : 'docker.io/…';
  return `has no registry, for '${host}' has neither a dot nor a port and is a namespace of docker.io: did you mean ${hub}?`;
}

function repositoryMistake(repositories: string): string | undefined {
  if (repositories === '') return 'ends with a slash: write ** behind it for all repositories';
  if (repositories.includes('@')) return 'has a digest: rules are for repositories, leave it out';
  if (/\$\{/.test(repositories)) return 'has a variable: there are none in these patterns';
  if (repositories.includes(':')) return 'has a tag: rules are for repositories, leave it out';
  if (/[A-Z]/.test(repositories))
    return 'has upper-case letters in its repository: repositories are lower-case';
  if (/[{}[\]?]/.test(repositories))
    return 'has braces, brackets or a ?: * and ** alone are known; write several rules';
  if (repositories.includes('***')) return 'has more than two stars beside each other';
  if (repositories.split('/').includes('')) return 'has an empty part: two slashes, or one at its end';
  return undefined;
}

const isPart = (text: string) => /^[a-z0-9](?:[a-z0-9._-]{0,127})$/.test(text);
