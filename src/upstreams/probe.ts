import { isIP } from 'node:net';
import type {
  CallOptions,
  Credential,
  CredentialSource,
  CredentialTarget,
  ProbeOptions,
  ProbeStep,
} from '../contracts/index.js';
import { untilAborted } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { type ConnectionFault, connectionFault } from '../outgoing/connection-hint.js';
import { printDuration } from '../settings/duration.js';
import { discard } from './bodies.js';
import { type LearnedChallenge, learnChallenge } from './learned-challenge.js';
import { isPublicUserName } from './public-user-name.js';
import { RealmRefused, type RealmRules } from './realm.js';
import { requestToken, type TokenEndpoint } from './token-client.js';
import type { Answer, Transport } from './transport.js';
import type { UpstreamTokens } from './upstream-tokens.js';
import { userAgent } from './user-agent.js';

export interface ProbeParts {
  readonly transport: Transport;
  readonly credentials: CredentialSource;
  readonly tokens: UpstreamTokens;
  readonly rules: RealmRules;
  readonly target: CredentialTarget;
  /** The addresses of a host name; absent where a proxy finds it. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Asks `/v2/` as all requests ask. @throws RegistryError */
  readonly enter: (o: CallOptions) => Promise<void>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What a step found, and what the later ones go on with. */
type Found<T> = { readonly step: ProbeStep; readonly value?: T };

/** For all steps of one probe. `signal` also ends with the time. */
interface Run extends CallOptions {
  /** The caller's own. */
  readonly asked: AbortSignal;
  /** Milliseconds. */
  readonly timeLimit: number;
}

/**
 * Tries to get in, step by step, so that each fault is told by the step it is in.
 *
 * @throws the signal's reason alone
 */
export async function probe(
  parts: ProbeParts,
  { signal: asked, timeLimit }: ProbeOptions,
): Promise<readonly ProbeStep[]> {
  const o = { asked, timeLimit, signal: AbortSignal.any([asked, AbortSignal.timeout(timeLimit)]) };
  // At the same time: one that hangs must not leave the other untold.
  const [reached, credential] = await Promise.all([reach(parts, o), credentialStep(parts, o)]);
  const { name, registry } = reached;
  if (registry === undefined) return [name, credential.step];
  const steps = [name, credential.step, registry.step];
  const challenge = registry.value;
  if (challenge === undefined || credential.step.result === 'failed') return steps;
  const token = await tokenStep(parts, challenge, credential.value, o);
  if (token.result === 'failed') return [...steps, token];
  return [...steps, token, await accessStep(parts, challenge, credential.value, o)];
}

async function reach(
  parts: ProbeParts,
  o: Run,
): Promise<{ readonly name: ProbeStep; readonly registry?: Found<LearnedChallenge> }> {
  const name = await nameStep(parts, o);
  return name.result === 'failed' ? { name } : { name, registry: await registryStep(parts, o) };
}

async function nameStep({ rules: { upstream }, resolve }: ProbeParts, o: Run): Promise<ProbeStep> {
  const step = 'name';
  const host = upstream.hostname;
  if (resolve === undefined) return { step, result: 'not needed', said: 'the proxy finds it' };
  if (isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0) return { step, result: 'not needed', said: 'an address' };
  return attempt(step, o, async () => {
    const addresses = await untilAborted(resolve(host), o.signal);
    return { step, result: 'fine', said: addresses.slice(0, 4).join(', ') };
  });
}

async function credentialStep({ credentials, target, now }: ProbeParts, o: Run): Promise<Found<Credential>> {
  let value: Credential | undefined;
  const step = await attempt('credential', o, async () => {
    value = await untilAborted(credentials.credentialFor(target, o), o.signal);
    if (value === undefined) return { step: 'credential', result: 'not needed', said: 'none' };
    return { step: 'credential', result: 'fine', said: sayCredential(value, now()) };
  });
  return { step, ...(value && { value }) };
}

/** Its kind, whose it is, and how long it is good; never the secret. */
function sayCredential(credential: Credential, now: number): string {
  const life = credential.expiresAt === undefined ? '' : `, for ${sayTime(credential.expiresAt - now)}`;
  return `${sayKind(credential)}${life}`;
}

function sayKind(credential: Credential): string {
  switch (credential.kind) {
    case 'identity-token':
      return 'an identity token';
    case 'registry-token':
      return 'a registry token';
    case 'basic':
      return isPublicUserName(credential) ? `user ${credential.username}` : 'a user name and password';
  }
}

/** In its largest unit, downwards. */
function sayTime(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000));
  if (minutes < 1) return 'less than a minute';
  return minutes < 120 ? `${minutes}m` : `${Math.floor(minutes / 60)}h`;
}

async function registryStep({ transport, rules }: ProbeParts, o: Run): Promise<Found<LearnedChallenge>> {
  let value: LearnedChallenge | undefined;
  const step = await attempt('registry', o, async () => {
    const answer = await transport.send({
      method: 'GET',
      url: new URL('/v2/', rules.upstream),
      headers: { 'user-agent': userAgent, 'accept-encoding': 'identity' },
      signal: o.signal,
    });
    discard(answer.body);
    if (answer.status === 200) {
      value = { kind: 'none' };
      return { step: 'registry', result: 'fine', said: 'it lets everybody in' };
    }
    if (answer.status !== 401) return wrongStatus(answer, rules.upstream);
    value = learnChallenge(answer.headers.get('www-authenticate') ?? '', rules);
    return value === undefined
      ? unknownChallenge
      : { step: 'registry', result: 'fine', said: sayChallenge(value) };
  });
  return { step, ...(value && { value }) };
}

const unknownChallenge: ProbeStep = {
  step: 'registry',
  result: 'failed',
  said: 'it answers 401 to /v2/ and asks for neither Bearer nor Basic',
  fix: 'is it a registry? A gateway before it may want a login of its own',
};

function sayChallenge(challenge: LearnedChallenge): string {
  return challenge.kind === 'bearer'
    ? `it wants a token of ${challenge.endpoint.realm.host}`
    : 'it wants a user name and password';
}

function wrongStatus({ status, headers }: Answer, upstream: URL): ProbeStep {
  const failed = { step: 'registry', result: 'failed', said: `it answers ${status} to /v2/` } as const;
  const location = headers.get('location') ?? '';
  if (status >= 300 && status < 400 && URL.canParse(location, upstream.href)) {
    const { origin } = new URL(location, upstream);
    const fix =
      origin === upstream.origin ? 'is it a registry?' : 'is the registry there? Then write that as `url`';
    return { ...failed, said: `it sends /v2/ to ${origin}`, fix };
  }
  if (status === 429) return { ...failed, fix: 'it limits how often it is asked: try later' };
  if (status >= 500) return { ...failed, fix: 'it is out of order, or a gateway before it: try later' };
  if (status === 403) return { ...failed, fix: 'does it take requests from this address?' };
  return { ...failed, fix: 'is it a registry, and is the scheme in `url` right?' };
}

async function tokenStep(
  { transport, tokens, target, now }: ProbeParts,
  challenge: LearnedChallenge,
  credential: Credential | undefined,
  o: Run,
): Promise<ProbeStep> {
  const step = 'token';
  if (challenge.kind !== 'bearer') return { step, result: 'not needed', said: 'it wants none' };
  const { endpoint } = challenge;
  const { host } = endpoint.realm;
  return attempt(step, o, async () => {
    if (credential === undefined) return anonymousToken(transport, endpoint, { ...o, now: now() });
    if (credential.kind === 'registry-token')
      return { step, result: 'not needed', said: 'the credential is one' };
    await tokens.get({ endpoint, target, scopes: [] }, o);
    return { step, result: 'fine', said: `${host} gives one` };
  });
}

/** Endpoints may give strangers a token for a repository, and none without: a refusal here is no fault. */
async function anonymousToken(
  transport: Transport,
  endpoint: TokenEndpoint,
  o: CallOptions & { readonly now: number },
): Promise<ProbeStep> {
  const { kind } = await requestToken(transport, endpoint, [], undefined, o);
  const { host } = endpoint.realm;
  return kind === 'token'
    ? { step: 'token', result: 'fine', said: `${host} gives one to everybody` }
    : { step: 'token', result: 'not needed', said: `${host} gives none without a repository` };
}

async function accessStep(
  { enter }: ProbeParts,
  challenge: LearnedChallenge,
  credential: Credential | undefined,
  o: Run,
): Promise<ProbeStep> {
  const step = 'access';
  if (challenge.kind === 'none') return openAccess(credential);
  if (credential === undefined) return challenge.kind === 'basic' ? noCredential : anonymousAccess;
  return attempt(step, o, async () => {
    await enter(o);
    return { step, result: 'fine', said: 'we are let in' };
  });
}

function openAccess(credential: Credential | undefined): ProbeStep {
  const said = 'it lets everybody in';
  if (credential === undefined) return { step: 'access', result: 'fine', said };
  return { step: 'access', result: 'not needed', said: `${said}: the credential was not tried` };
}

const noCredential: ProbeStep = {
  step: 'access',
  result: 'failed',
  said: 'it wants a user name and password, and there is no credential',
  fix: 'set `credentials`',
};

/** Whether strangers are let in to `/v2/` says nothing about public repositories. */
const anonymousAccess: ProbeStep = {
  step: 'access',
  result: 'not needed',
  said: 'asked anonymously: what is public there, and no more',
};

/** @throws the caller's reason alone */
async function attempt(
  step: ProbeStep['step'],
  { asked, signal, timeLimit }: Run,
  action: () => Promise<ProbeStep>,
): Promise<ProbeStep> {
  try {
    signal.throwIfAborted();
    return await action();
  } catch (error) {
    asked.throwIfAborted();
    if (signal.aborted) return { step, result: 'failed', ...late(step, timeLimit) };
    return { step, result: 'failed', ...explain(step, error) };
  }
}

type Told = Pick<ProbeStep, 'said' | 'fix' | 'isUnanswered'>;

function late(step: ProbeStep['step'], timeLimit: number): Told {
  const asked =
    step === 'credential' ? 'the program or server that `credentials` asks' : 'the network between';
  return { said: `not done within ${printDuration(timeLimit)}`, fix: `more time (--timeout), or ${asked}` };
}

const usualFixes: Readonly<Record<ProbeStep['step'], string>> = {
  name: "check the name in `url`, and this machine's DNS",
  credential: 'check `credentials`; the log of `serve` has more of it',
  registry: 'check `url`',
  token: 'is the credential in `credentials` right, and still good?',
  access: 'is the credential in `credentials` right, still good, and for this registry?',
};

/** An error's own reason: its causes may hold what servers and programs say, and that is not for a terminal. */
function explain(step: ProbeStep['step'], error: unknown): Told {
  if (error instanceof RealmRefused) {
    return {
      said: `it wants a token of a host that we show no credential to: ${error.message}`,
      fix: 'if that is its token endpoint, name it as `realm`',
    };
  }
  const fault = connectionFault(error);
  const reason = error instanceof RegistryError ? (error.reason ?? error.message) : describeError(error);
  if (fault === undefined) return { said: reason, ...fixOf(step, reason, error) };
  if (step === 'credential') return unreachedByCredentials(reason, fault);
  const said =
    step === 'name' || !(error instanceof RegistryError) ? fault.what : sayBoth(reason, fault.what);
  return { said, fix: fault.fix, isUnanswered: true };
}

/** Sources of credentials say themselves what to do, but where all they know is an error of something else. */
function fixOf(step: ProbeStep['step'], reason: string, error: unknown): Pick<ProbeStep, 'fix'> {
  const status = Number(/\banswer(?:s|ed) (\d{3})\b/.exec(reason)?.[1]);
  if (status === 429) return { fix: 'it limits how often it is asked: try later' };
  if (status >= 500) return { fix: 'it is out of order, or a gateway before it: try later' };
  const isTold = step === 'credential' && error instanceof RegistryError && error.cause === undefined;
  return isTold ? {} : { fix: usualFixes[step] };
}

/** The reason of a connection may end with the hint for the log, which says the same. */
function sayBoth(reason: string, what: string): string {
  const at = reason.indexOf(`: ${what}`);
  return at < 0 ? `${reason}: ${what}` : `${reason.slice(0, at)}: ${what}`;
}

/** What stands after the server in a reason are the hint for the log, and a source's own words on what to do. */
const unanswered = /^(.*\bno answer from .+?)(?:[:;] (.*))?$/s;

function unreachedByCredentials(reason: string, { what, fix }: ConnectionFault): Told {
  const [who = reason, rest = ''] = unanswered.exec(reason)?.slice(1) ?? [];
  const advice = rest.startsWith(what) ? rest.split('; ').slice(1).join('; ') : rest;
  const said = sayBoth(who, what);
  if (advice !== '') return { said: `${said}; ${advice}`, isUnanswered: true };
  const own = "`credentials` have `proxy` and `ca` of their own: the upstream's do not count there";
  // `url` is the registry's.
  return { said, fix: fix.includes('`url`') ? own : `${fix}; ${own}`, isUnanswered: true };
}
