import {
  type CallOptions,
  type ClientCredentials,
  type Decision,
  type IssuedToken,
  type Log,
  type Policy,
  type Principal,
  qualifiedName,
  type TokenIssuer,
  type Verifier,
} from '../contracts/index.js';
import { authenticate } from '../decorators/authenticate.js';
import { noteUser } from '../decorators/note-user.js';
import { describeError, RegistryError } from '../errors.js';
import { shorten } from '../reference/repository-name.js';
import { type Action, mergeScopes, parseScope, printScope, type Scope } from '../reference/scope.js';
import type { RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import type { Secret } from '../secret.js';
import type { RefreshTokens } from './refresh-tokens.js';

/** More are not told in the log. */
const maxShownGroups = 30;
/** More resources than any client asks for at once. */
const maxScopes = 100;

export interface TokenRequest {
  readonly host: ServedHost;
  /** As the client sent it; absent: the host's own. */
  readonly service: string | undefined;
  /** As the client sent them, one scope a text. */
  readonly scopes: readonly string[];
  readonly credentials: ClientCredentials;
  /** Takes the place of credentials. */
  readonly refreshToken?: Secret;
  readonly wantsRefreshToken: boolean;
  /** Told who asks, as soon as that is known. @throws RegistryError TOOMANYREQUESTS */
  readonly admit: (who: Principal) => void;
}

export interface TokenAnswer {
  readonly issued: IssuedToken;
  readonly granted: readonly Scope[];
  readonly refreshToken?: Secret;
}

/** What the token line of the log says; filled in as it becomes known. */
export interface TokenRecord {
  /** The user name shown with a password, accepted or refused, where a verifier knows it. */
  user?: string;
  principal?: string;
  verifier?: string;
  /** What the verifier said, without its id; cut where they are many. */
  groups?: readonly string[];
  service?: string;
  asked?: readonly string[];
  granted?: readonly string[];
  rules?: readonly string[];
}

export interface TokenServiceParts {
  readonly routes: RouteTable;
  readonly verifier: Verifier;
  readonly policy: Policy;
  readonly tokens: TokenIssuer;
  /** Absent: refresh tokens are off. */
  readonly refreshTokens?: RefreshTokens;
  /** Other registries, by their service name, that trust our tokens. */
  readonly otherServices: readonly string[];
  /** Whether there is a catalogue: then everybody may ask for it, for it shows each what they may pull. */
  readonly catalog?: boolean;
  /** Told of a refresh token that could not be stored. */
  readonly log: Log;
}

/** The token endpoint (distribution `docs/content/spec/auth/token.md` and `oauth.md`): who asks, what of it is allowed. */
export class TokenService {
  readonly #parts: TokenServiceParts;

  constructor(parts: TokenServiceParts) {
    this.#parts = parts;
  }

  /** @throws RegistryError UNAUTHORIZED, DENIED for a service that is none of ours, TOOMANYREQUESTS, UNAVAILABLE */
  async handle(request: TokenRequest, record: TokenRecord, o: CallOptions): Promise<TokenAnswer> {
    const service = request.service ?? request.host.service;
    record.service = shorten(service);
    record.asked = request.scopes.slice(0, maxScopes).map((scope) => shorten(scope, 300));
    const canonical = this.#canonicalNames(service);
    if (request.scopes.length === 0 && showsNothing(request)) {
      throw new RegistryError('UNAUTHORIZED', { reason: 'neither credentials nor a scope' });
    }
    const who = await this.#authenticate(request, service, record, o);
    record.principal = qualifiedName(who);
    record.verifier = who.verifier;
    if (who.groups.length > 0) record.groups = shownGroups(who);
    request.admit(who);

    const wanted = parseScopes(request.scopes, canonical);
    const context = { service, address: request.credentials.connection.address };
    const decisions = await this.#parts.policy.decide(who, wanted, context, o);
    const granted = this.#granted(decisions, service);
    record.granted = granted.map(printScope);
    record.rules = [...new Set(decisions.flatMap((decision) => decision.rule ?? []))];

    const issued = await this.#parts.tokens.issue(this.#parts.policy.relevant(who), granted, {
      ...o,
      service,
    });
    const wantsRefreshToken = request.wantsRefreshToken && request.refreshToken === undefined;
    const refreshToken = wantsRefreshToken ? await this.#refreshToken(who, service, o) : undefined;
    return { issued, granted, ...(refreshToken && { refreshToken }) };
  }

  /**
   * The intersection of what was asked and what is allowed, whatever the policy says (Harbor's fault, threat 14). Our own
   * catalogue is no rule's; another registry's may show everything to whoever gets in, so there the policy decides.
   */
  #granted(decisions: readonly Decision[], service: string): readonly Scope[] {
    const { catalog = false, otherServices } = this.#parts;
    const isOurs = !otherServices.includes(service);
    const ofCatalog: readonly Action[] = catalog ? ['*'] : [];
    return decisions.flatMap(({ wanted, granted }) => {
      const allowed = isOurs && wanted.type === 'registry' ? ofCatalog : granted;
      const actions = wanted.actions.filter((action) => allowed.includes(action));
      return actions.length === 0 ? [] : [{ ...wanted, actions }];
    });
  }

  /** A state that cannot be written (a full disk) must not stop pulls: the answer then goes without. */
  async #refreshToken(who: Principal, service: string, o: CallOptions): Promise<Secret | undefined> {
    try {
      return await this.#parts.refreshTokens?.issue(who, service, o);
    } catch (error) {
      o.signal.throwIfAborted();
      if (!(error instanceof RegistryError) || error.code !== 'UNAVAILABLE') throw error;
      const fields = { principal: qualifiedName(who), reason: describeError(error) };
      this.#parts.log.warn(fields, 'no refresh token: it cannot be stored now');
      return undefined;
    }
  }

  async #authenticate(
    request: TokenRequest,
    service: string,
    record: TokenRecord,
    o: CallOptions,
  ): Promise<Principal> {
    if (request.refreshToken === undefined) {
      return authenticate(noteUser(this.#parts.verifier, record), request.credentials, o);
    }
    if (this.#parts.refreshTokens === undefined) {
      throw new RegistryError('UNAUTHORIZED', { reason: 'refresh tokens are off' });
    }
    return this.#parts.refreshTokens.redeem(request.refreshToken, service, o);
  }

  /** How names of this service become canonical: through our routes, or not at all for another registry. */
  #canonicalNames(service: string): (scope: Scope) => Scope | undefined {
    const { routes, otherServices } = this.#parts;
    if (otherServices.includes(service)) return (scope) => scope;
    if (!routes.hosts.services.includes(service)) {
      throw new RegistryError('DENIED', { message: 'no tokens are issued for this service' });
    }
    const host = routes.hosts.find(service);
    return (scope) => {
      if (scope.type !== 'repository') return scope;
      try {
        return { ...scope, name: routes.resolve(host, scope.name)?.canonical ?? scope.name };
      } catch (error) {
        if (error instanceof RegistryError) return undefined; // a name that becomes too long is nobody's
        throw error;
      }
    };
  }
}

function showsNothing({ credentials, refreshToken }: TokenRequest): boolean {
  const { shown, connection } = credentials;
  return shown.kind === 'none' && connection.peerCertificate === undefined && refreshToken === undefined;
}

/** So that "why may she not?" has an answer: what a directory calls a group is often not what a rule calls it. */
function shownGroups({ groups }: Principal): readonly string[] {
  const shown = groups.slice(0, maxShownGroups).map((group) => shorten(group));
  return groups.length > maxShownGroups ? [...shown, '…'] : shown;
}

function parseScopes(
  texts: readonly string[],
  canonical: (scope: Scope) => Scope | undefined,
): readonly Scope[] {
  if (texts.length > maxScopes) throw new RegistryError('DENIED', { message: 'too many scopes' });
  return mergeScopes(
    texts.flatMap((text) => {
      const scope = parseScope(text);
      return (scope && canonical(withAllActions(scope))) ?? [];
    }),
  );
}

/** `repository:a:*`, which skopeo asks for to delete, is every action there: of those as many are granted as are allowed. */
function withAllActions(scope: Scope): Scope {
  if (scope.type !== 'repository' || !scope.actions.includes('*')) return scope;
  return { ...scope, actions: ['pull', 'push', 'delete'] };
}
