import type { Configuration } from '../config/configuration.js';
import type { Principal } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { type Action, normalizeActions } from '../reference/scope.js';
import { Opener, openPolicy, openUpstreams, routeTable, type Surroundings } from './open-parts.js';

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
    const host = routes.hosts.find(question.host);
    if (question.host !== undefined && host.service !== question.host.toLowerCase()) {
      throw new QuestionError(`--host: this proxy serves ${routes.hosts.services.join(', ')}`);
    }
    const name = parseRepositoryName(question.repository);
    const destination = routes.resolve(host, name);
    const canonical = destination?.canonical ?? name;
    const wanted: readonly Action[] = action === 'push' ? ['pull', 'push'] : [action];
    const [decision] = await policy.decide(
      who,
      [{ type: 'repository', name: canonical, actions: wanted }],
      { service: host.service, address: '127.0.0.1' },
      { signal: AbortSignal.timeout(10_000) },
    );
    const missing = wanted.filter((one) => !decision?.granted.includes(one));
    const rows = [
      [
        'decision',
        missing.length === 0
          ? `allowed by ${decision?.rule}`
          : `denied: no rule allows ${missing.join(', ')}`,
      ],
      ['principal', `${question.as}${who.groups.length > 0 ? `, groups ${who.groups.join(', ')}` : ''}`],
      ['action', action === 'push' ? 'push (which needs pull and push)' : action],
      ['repository', `${canonical} on ${host.service}`],
      [
        'sent to',
        destination === undefined
          ? 'nowhere: no route takes this name'
          : `upstream ${destination.upstreamId} (${destination.upstream.registry}), repository ${destination.upstreamName}`,
      ],
    ];
    return {
      allowed: missing.length === 0,
      text: rows.map(([key, value]) => `${key?.padEnd(11)}${value}`).join('\n'),
    };
  } catch (error) {
    if (error instanceof RegistryError) throw new QuestionError(`--repository: ${error.message}`);
    throw error;
  } finally {
    await opener.close();
  }
}

function principalOf({ verifiers }: Configuration, { as, groups, attributes }: Question): Principal {
  const colon = as.indexOf(':');
  const ids = verifiers.map(({ id }) => id);
  const verifier = as.slice(0, Math.max(colon, 0));
  if (!ids.includes(verifier)) {
    throw new QuestionError(`--as: expected VERIFIER:NAME with one of the verifiers ${ids.join(', ')}`);
  }
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
