import { parseChallenges } from '../protocol/challenge.js';
import { checkRealm, RealmRefused, type RealmRules } from './realm.js';
import type { TokenEndpoint } from './token-client.js';

/** How an upstream wants to be asked, as its 401 told. */
export type LearnedChallenge =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly endpoint: TokenEndpoint };

/**
 * Reads a 401's `WWW-Authenticate`. Bearer goes before Basic, as in containerd.
 *
 * @returns undefined where it asks for nothing we know
 * @throws RealmRefused
 */
export function learnChallenge(header: string, rules: RealmRules): LearnedChallenge | undefined {
  const challenges = parseChallenges(header);
  const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
  if (bearer !== undefined) {
    const realm = bearer.parameters.get('realm');
    if (realm === undefined) throw new RealmRefused('the challenge names no realm');
    const service = bearer.parameters.get('service');
    const endpoint = { realm: checkRealm(realm, rules), ...(service !== undefined && { service }) };
    return { kind: 'bearer', endpoint };
  }
  return challenges.some((challenge) => challenge.scheme === 'basic') ? { kind: 'basic' } : undefined;
}

/**
 * What a challenge asks for beyond what we asked: Azure lists tags under an action of its own, `metadata_read`;
 * distribution cancels an upload under `delete`, others delete under `push`. Taken only for the same resource, and never
 * to write where we read: for the rest our own scopes stand.
 *
 * @returns all scopes to ask for now
 */
export function widenScopes(own: readonly string[], header: string): readonly string[] {
  const bearer = parseChallenges(header).find((challenge) => challenge.scheme === 'bearer');
  const asked = (bearer?.parameters.get('scope') ?? '').split(' ').slice(0, 8);
  const widened = new Set(own);
  for (const scope of asked) {
    const colon = scope.lastIndexOf(':');
    const resource = scope.slice(0, colon);
    const mine = own.find((known) => known.slice(0, known.lastIndexOf(':')) === resource);
    if (colon < 0 || mine === undefined) continue;
    const has = mine.slice(mine.lastIndexOf(':') + 1).split(',');
    const reads = !has.some((action) => writing.includes(action));
    const more = scope
      .slice(colon + 1)
      .split(',')
      .filter((action) => /^[a-z_]{1,32}$/.test(action) && !has.includes(action))
      .filter((action) => !(reads && writing.includes(action)));
    for (const action of more.slice(0, 4)) widened.add(`${resource}:${action}`);
  }
  return [...widened];
}

const writing = ['push', 'delete'];
