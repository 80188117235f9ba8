import type { Configuration } from '../config/configuration.js';
import type { Principal } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { isRepositoryName, parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import { type Action, normalizeActions } from '../reference/scope.js';
import type { Destination, RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import { Opener, openPolicy, openUpstreams, routeTable, type Surroundings } from './open-parts.js';
import { rulesFor } from './rules-for.js';

export interface Question {
  /** Qualified: `corp:alice`. */
  readonly as: string;
  readonly groups: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
  readonly repository: string;
  readonly action: string;
  /** Default: the external URL's host. */
  readonly host?: string;
}

/** A question that makes no sense; the message is for the user. */
export class QuestionError extends Error {
  override readonly name = 'QuestionError';
}

/**
 * Which rule decides, and where the request would be sent. Asks no verifier and no upstream.
 *
 * @throws QuestionError, OpeningError
 */
export async function explain(
  configuration: Configuration,
  question: Question,
  surroundings: Surroundings,
): Promise<{ allowed: boolean; text: string }> {
  const who = principalOf(configuration, question);
  const [action] = normalizeActions([question.action]);
  if (action === undefined || action === '*')
    throw new QuestionError('--action: expected pull, push or delete');
  const opener = new Opener(configuration, surroundings);
  try {
    const routes = routeTable(configuration, await openUpstreams(opener, configuration));
    const policy = await openPolicy(opener, configuration);
    const place = findPlace(configuration, routes, question);
    const wanted: readonly Action[] = action === 'push' ? ['pull', 'push'] : [action];
    const [decision] = await policy.decide(
      who,
      [{ type: 'repository', name: place.canonical, actions: wanted }],
      { service: place.service, address: '127.0.0.1' },
      { signal: AbortSignal.timeout(10_000) },
    );
    const missing = wanted.filter((one) => !decision?.granted.includes(one));
    const isAllowed = missing.length === 0;
    const rows = [
      [
        'decision',
        isAllowed ? `allowed by ${decision?.rule}` : `denied: no rule allows ${missing.join(', ')}`,
      ],
      ['principal', `${question.as}${who.groups.length > 0 ? `, groups ${who.groups.join(', ')}` : ''}`],
      ['action', action === 'push' ? 'push (which needs pull and push)' : action],
      ['repository', `${place.canonical} on ${place.service}`],
      ['sent to', place.sentTo],
      ...(isAllowed ? [] : rulesFor(configuration, who).map((rule) => ['rule', rule])),
    ];
    return {
      allowed: isAllowed,
      text: rows.map(([key, value]) => `${key?.padEnd(11)}${value}`).join('\n'),
    };
  } finally {
    await opener.close();
  }
}

/** Where a request goes. */
interface Place {
  readonly service: string;
  readonly canonical: RepositoryName;
  readonly sentTo: string;
}

/** @throws QuestionError */
function findPlace(
  { token }: Configuration,
  routes: RouteTable,
  { host: asked, repository }: Question,
): Place {
  const name = repositoryOf(repository);
  const service = asked?.toLowerCase();
  const host = routes.hosts.find(service);
  if (service !== undefined && host.service !== service) {
    if (token.services.includes(service)) {
      return { service, canonical: name, sentTo: `at ${service} itself` };
    }
    const others = token.services.length === 0 ? '' : `, and issues tokens for ${token.services.join(', ')}`;
    throw new QuestionError(`--host: this proxy serves ${routes.hosts.services.join(', ')}${others}`);
  }
  const destination = resolve(routes, host, name);
  const sentTo =
    destination === undefined
      ? 'nowhere: no route takes this name'
      : `upstream ${destination.upstreamId} (${destination.upstream.registry}), repository ${destination.upstreamName}`;
  return { service: host.service, canonical: destination?.canonical ?? name, sentTo };
}

function repositoryOf(text: string): RepositoryName {
  if (isRepositoryName(text)) return parseRepositoryName(text);
  throw new QuestionError(
    '--repository: expected a repository name in lower case, without host and tag, such as team/app',
  );
}

function resolve(routes: RouteTable, host: ServedHost, name: RepositoryName): Destination | undefined {
  try {
    return routes.resolve(host, name);
  } catch (error) {
    if (error instanceof RegistryError) throw new QuestionError(`--repository: ${error.message}`);
    throw error;
  }
}

function principalOf({ verifiers }: Configuration, { as, groups, attributes }: Question): Principal {
  const colon = as.indexOf(':');
  const ids = verifiers.map(({ id }) => id);
  const verifier = as.slice(0, Math.max(colon, 0));
  if (!ids.includes(verifier)) {
    throw new QuestionError(`--as: expected VERIFIER:NAME with one of the verifiers ${ids.join(', ')}`);
  }
  if (colon === as.length - 1) throw new QuestionError(`--as: expected a name after ${as}`);
  return {
    verifier,
    name: as.slice(colon + 1),
    kind: 'human',
    groups: groups.map((group) =>
      group.startsWith(`${verifier}:`) ? group.slice(verifier.length + 1) : group,
    ),
    attributes,
  };
}
