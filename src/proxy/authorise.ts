import {
  type CallOptions,
  type Policy,
  type Principal,
  qualifiedName,
  type TokenIssuer,
  type Verifier,
} from '../contracts/index.js';
import { authenticate } from '../decorators/authenticate.js';
import { noteUser } from '../decorators/note-user.js';
import { RegistryError } from '../errors.js';
import { covers, type Scope } from '../reference/scope.js';
import type { AccessRecord, ClientRequest } from './client-request.js';

export interface AuthorityParts {
  readonly verifier: Verifier;
  readonly policy: Policy;
  readonly tokens: TokenIssuer;
}

/** Somebody who was let in. */
export interface Authority {
  readonly principal: Principal;
  /** Whether one more scope than was demanded is theirs. */
  allows(scope: Scope): Promise<boolean>;
}

/**
 * Passes only where every wanted action is granted; says the same whether or not the repository exists. A token grants
 * what it was issued for, a password what the policy says now.
 *
 * @param wanted undefined: being somebody is enough
 * @throws RegistryError UNAUTHORIZED, DENIED, TOOMANYREQUESTS, UNAVAILABLE
 */
export async function authorise(
  parts: AuthorityParts,
  request: Pick<ClientRequest, 'credentials' | 'host' | 'admit'>,
  wanted: Scope | undefined,
  record: AccessRecord,
  o: CallOptions,
): Promise<Authority> {
  const { shown } = request.credentials;
  if (shown.kind === 'none') throw new RegistryError('UNAUTHORIZED', { reason: 'no credentials were shown' });
  const byToken = shown.kind === 'bearer';
  const authority = byToken
    ? await tokenAuthority(parts, request, shown.token, o)
    : await passwordAuthority(parts, request, record, o);
  record.principal = qualifiedName(authority.principal);
  record.verifier = authority.principal.verifier;
  request.admit(authority.principal);
  if (wanted === undefined || (await authority.allows(wanted))) return authority;
  if (byToken) {
    throw new RegistryError('UNAUTHORIZED', {
      bearerError: 'insufficient_scope',
      reason: 'the token does not grant it',
    });
  }
  throw new RegistryError('DENIED', { detail: { name: wanted.name }, reason: 'no rule allows it' });
}

async function tokenAuthority(
  { tokens }: AuthorityParts,
  { host }: Pick<ClientRequest, 'host'>,
  token: Parameters<TokenIssuer['open']>[0],
  o: CallOptions,
): Promise<Authority> {
  const { principal, grants } = await tokens.open(token, { ...o, service: host.service });
  return { principal, allows: (scope) => Promise.resolve(covers(grants, scope)) };
}

async function passwordAuthority(
  { verifier, policy }: AuthorityParts,
  { credentials, host }: Pick<ClientRequest, 'credentials' | 'host'>,
  record: AccessRecord,
  o: CallOptions,
): Promise<Authority> {
  const principal = await authenticate(noteUser(verifier, record), credentials, o);
  const context = { service: host.service, address: credentials.connection.address };
  return {
    principal,
    async allows(scope) {
      const [decision] = await policy.decide(principal, [scope], context, o);
      if (decision?.rule !== undefined) record.rule ??= decision.rule;
      return scope.actions.every((action) => decision?.granted.includes(action));
    },
  };
}
