import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Generation, Generations } from '../../../src/bin/generation.js';
import { loadConfiguration } from '../../../src/config/load.js';
import { formatProblem } from '../../../src/config/problem.js';
import type { CallOptions, Clock, StateStore } from '../../../src/contracts/index.js';
import type { FrontParts } from '../../../src/http/front-server.js';
import type { Secret } from '../../../src/secret.js';
import { FilePath } from '../../../src/settings/file-path.js';
import { driver as fileState } from '../../../src/state-stores/file.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import type { TokenRecord } from '../../../src/token/token-service.js';
import type { Scope } from '../../harness/scope.js';
import {
  type OpenIdProvider,
  type OpenIdProviderOptions,
  registryClient,
  startOpenIdProvider,
} from './openid-provider.js';
import { Browser } from './sign-in-by-hand.js';

/** For calls that nobody gives up, of a browser on this machine. */
export const o: CallOptions & { readonly address: string } = {
  ...{ signal: new AbortController().signal, address: '127.0.0.1' },
};
const redirectUri = 'https://docker.test/sign-in/callback';
/** Seconds: tests move the clock of the proxy, and not that of the provider. */
const idTokenLife = 30 * 86_400;

type SignInService = NonNullable<FrontParts['signIn']>;

/** The client that signs people in. */
export const signInClient = { ...registryClient, redirect_uris: [redirectUri] };

/** A provider that demands PKCE of everybody, and rotates refresh tokens. */
export function startSignInProvider(options: OpenIdProviderOptions = {}): Promise<OpenIdProvider> {
  return startOpenIdProvider({
    clients: [signInClient],
    idTokenLife,
    configure: (configuration) => ({
      ...configuration,
      pkce: { required: () => true },
      rotateRefreshToken: true,
    }),
    ...options,
  });
}

/** The present time, moved by as much as a test says. */
export class MovedClock implements Clock {
  #by = 0;

  now(): number {
    return Date.now() + this.#by;
  }

  /** Milliseconds. */
  advance(by: number): void {
    this.#by += by;
  }
}

/** What a login with a password comes to. */
export interface Login {
  readonly granted: boolean;
  readonly record: TokenRecord;
}

/** A proxy's parts, without its sockets. */
export interface SignInProxy {
  readonly generation: Generation;
  readonly service: SignInService;
  readonly directory: string;
  readonly clock: MovedClock;
  readonly log: FakeLog;
  readonly metrics: FakeMetrics;
  /** Another one beside it, that shares its keys and its state. @param settings other ones of `signIn` */
  another(settings: string): Promise<SignInProxy>;
  /** To the provider and back. @returns where the browser came back to, and its cookie */
  attempt(login?: string): Promise<{ readonly callback: URL; readonly sealed: string }>;
  /** The whole of it. */
  signIn(login?: string): ReturnType<SignInService['finish']>;
  /** As docker does it. Whether developers' images may be pulled. @throws RegistryError */
  login(token: Secret, options?: CallOptions): Promise<Login>;
  close(): Promise<void>;
}

export interface SignInSettings {
  /** Of the verifier, beside type, issuer and audiences. */
  readonly verifier?: string;
  readonly audiences?: string;
  /** Of `signIn`, beside verifier, clientId and clientSecret. */
  readonly signIn?: string;
  /** Of the whole. */
  readonly others?: string;
  /** `null`: a public client. */
  readonly clientSecret?: string | null;
  /** Of an earlier proxy. */
  readonly directory?: string;
  readonly clock?: MovedClock;
}

export async function startSignIn(
  scope: Scope,
  provider: OpenIdProvider,
  settings: SignInSettings = {},
): Promise<SignInProxy> {
  const directory = settings.directory ?? mkdtempSync(join(tmpdir(), 'drp-sign-in-'));
  const clock = settings.clock ?? new MovedClock();
  const log = new FakeLog();
  const metrics = new FakeMetrics();
  const surroundings = { clock, log, metrics, stdout: { write: () => {} } };
  const generations = new Generations(surroundings);
  const open = async (more = settings): Promise<SignInProxy> => {
    const generation = await generations.open(await configurationOf(directory, provider, more));
    scope.after(() => generation.close());
    const service = generation.front.signIn;
    if (service === undefined) throw new Error('there is no sign-in');
    const attempt = async (login = 'alice') => {
      const { location, sealed } = await service.begin(o);
      const password = provider.accounts.get(login)?.password ?? '';
      const callback = await new Browser().signIn(location, redirectUri, { login, password });
      return { callback, sealed };
    };
    return {
      ...{ generation, service, directory, clock, log, metrics, attempt },
      another: (signIn) => open({ ...more, signIn }),
      async signIn(login) {
        const { callback, sealed } = await attempt(login);
        return service.finish(callback, sealed, o);
      },
      login: (token, options = o) => login(generation, token, options),
      close: () => generation.close(),
    };
  };
  if (settings.directory === undefined) {
    scope.after(() => rmSync(directory, { recursive: true, force: true }));
  }
  return open();
}

async function login(generation: Generation, token: Secret, options: CallOptions): Promise<Login> {
  const { front } = generation;
  const record: TokenRecord = {};
  const answer = await front.token.handle(
    {
      host: front.routes.hosts.find(undefined),
      service: undefined,
      scopes: ['repository:team/app:pull'],
      credentials: {
        shown: { kind: 'password', username: 'alice', password: token },
        connection: { address: '127.0.0.1' },
      },
      wantsRefreshToken: true,
      admit: () => {},
    },
    record,
    options,
  );
  return { granted: answer.granted.length > 0, record };
}

/** The state of a proxy that keeps it in files, as a command beside it sees it. */
export function guestOf({ directory, clock, log }: SignInProxy): Promise<StateStore> {
  const given = { id: 'state', access: 'guest' as const, baseDirectory: directory };
  return fileState.open(
    { path: new FilePath('state', 'directory') },
    { ...given, clock, log, metrics: new FakeMetrics() },
  );
}

async function configurationOf(directory: string, provider: OpenIdProvider, settings: SignInSettings) {
  const { verifier = '', audiences = '[registry]', signIn = '', others = '', clientSecret } = settings;
  const secret = clientSecret === null ? '' : 'clientSecret: { file: client-secret },';
  const file = join(directory, 'proxy.yaml');
  writeFileSync(join(directory, 'client-secret'), clientSecret ?? signInClient.client_secret);
  writeFileSync(
    file,
    `
externalUrl: https://docker.test
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
rememberLogins: { accepted: 0s, refused: 0s }
verifiers:
  - { id: corp, type: oidc, issuer: "${provider.issuer}", audiences: ${audiences}, groupsClaim: groups, ${verifier} }
policy: [{ groups: ["corp:developers"], repositories: ["**"], actions: [pull] }]
signIn: { verifier: corp, clientId: registry, ${secret} ${signIn} }
${others}
`,
  );
  const loaded = await loadConfiguration(file);
  if ('problems' in loaded) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.configuration;
}
