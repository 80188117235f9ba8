import type { Driver, DriverKind } from '../contracts/driver.js';
import type { FilePath } from '../settings/file-path.js';
import type { ListenAddress } from '../settings/listen-address.js';
import type { NamePattern } from '../settings/name-pattern.js';
import type { SecretSource } from '../settings/secret-source.js';
import type { PolicyTest } from './policy-test-schema.js';
import type { Problem } from './problem.js';

/** A driver and its settings, which the driver's own schema has already parsed: pass them to `driver.open`. */
export interface ConfiguredDriver<K extends DriverKind> {
  readonly driver: Driver<K>;
  readonly config: unknown;
  /** The driver's choice and its settings as the file has them: equal where two configurations say the same. */
  readonly raw: unknown;
  /** Of a credential source: the configuration names no type, and this is the one that the registry wants. */
  readonly isUsual?: boolean;
}

/** A file that a configuration names and that has to be there. */
export interface NamedFile {
  /** The setting that names it: `verifiers[0].file`. */
  readonly setting: string;
  /** Absolute. */
  readonly path: string;
  /** Of what it held when the configuration was loaded. */
  readonly digest: string;
}

/** A test of the policy. */
export interface PolicyTestSetting {
  readonly test: PolicyTest;
  /** Where it stands. */
  readonly place: Omit<Problem, 'message'>;
}

/** Times are milliseconds. */
export interface ConfiguredCache {
  /** `upstreams.hub.cache`. */
  readonly setting: string;
  readonly store: ConfiguredDriver<'blob-store'>;
  readonly tagFreshness: number;
  readonly contentFreshness: number;
  readonly missFreshness: number;
}

/** A route from what clients name to a repository of an upstream. */
export interface RouteSetting {
  /** In lower case, `name` or `name:port`. Absent: any host. */
  readonly host?: string;
  /** Empty, or ends with `/`. */
  readonly prefix: string;
  /** A key of `Configuration.upstreams`. */
  readonly upstream: string;
  /** What takes the prefix's place: empty, or repository components that end with `/`. */
  readonly rewrite: string;
  /** The registries containerd names in `?ns=` in mirror mode; each of one route only. In lower case. */
  readonly ns: readonly string[];
  /** In the place of the upstream's; `false`: none. */
  readonly cache?: ConfiguredCache | false;
}

export interface ConfiguredCredential {
  /** The setting: `upstreams.hub.credentials[0]`. */
  readonly setting: string;
  readonly source: ConfiguredDriver<'credential-source'>;
}

export interface ConfiguredUpstream {
  readonly upstream: ConfiguredDriver<'upstream'>;
  /** At least one: of several the first that the registry does not refuse. */
  readonly credentials: readonly ConfiguredCredential[];
  readonly cache?: ConfiguredCache;
}

export interface ConfiguredVerifier {
  readonly id: string;
  /** Of these alone it sees passwords; absent: of everybody. */
  readonly usernames?: readonly NamePattern[];
  readonly driver: ConfiguredDriver<'verifier'>;
}

/** How long the outcome of a verification is remembered, in milliseconds. */
export interface RememberedLoginSetting {
  readonly accepted: number;
  readonly refused: number;
}

/** Times are milliseconds. */
export interface SignInSetting {
  /** The id of one of `verifiers`. */
  readonly verifier: string;
  readonly clientId: string;
  readonly clientSecret?: SecretSource;
  readonly scopes: readonly string[];
  readonly session: number;
  readonly tokens: {
    readonly life: number;
    readonly maxLife: number;
    readonly perPrincipal: number;
    readonly recheck: number;
  };
}

/** A refresh token dies `idle` ms after its last use and `absolute` ms after the login. */
export interface RefreshTokenSetting {
  readonly idle: number;
  readonly absolute: number;
}

export interface TlsSetting {
  readonly certificate: FilePath;
  readonly key: FilePath;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly clientCertificates?: { readonly ca: FilePath; readonly required: boolean };
  readonly redirectFrom?: ListenAddress;
}

/** Counts; `headerTime` and `idle` in milliseconds. */
export interface LimitSettings {
  readonly requestsPerAddress: number;
  readonly requestsPerPrincipal: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly headerTime: number;
  readonly idle: number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What one configuration file says, checked as a whole. Secrets are still sources: drivers read them on opening. */
export interface Configuration {
  /** Absolute. */
  readonly file: string;
  /**
   * Where a setting stands, or the innermost one around it that is there: for what is found out later.
   *
   * @param setting `upstreams.gcr.credentials`, as `Problem.path` has it
   */
  placeOf(setting: string): Omit<Problem, 'message'>;
  /** The parsed file as it is. For comparing; never printed. */
  readonly raw: unknown;
  readonly namedFiles: readonly NamedFile[];
  /** The file's directory: relative names count from here. */
  readonly baseDirectory: string;
  readonly listen: ListenAddress;
  /** http or https, without path, query and credentials. */
  readonly externalUrl: URL;
  readonly tls?: TlsSetting;
  readonly admin?: { readonly listen: ListenAddress };
  /** Addresses and ranges. */
  readonly trustedProxies: readonly string[];
  /** In lower case. Absent: certificates come by our own TLS alone. */
  readonly clientCertificateHeader?: string;
  readonly limits: LimitSettings;
  readonly upstreams: ReadonlyMap<string, ConfiguredUpstream>;
  readonly routes: readonly RouteSetting[];
  /** Keys of `upstreams` whose repositories the catalogue lists; empty: it is off. */
  readonly catalog: readonly string[];
  /** In the order in which they are asked. */
  readonly verifiers: readonly ConfiguredVerifier[];
  /** Ids of verifiers whose names and groups rules may write bare. */
  readonly mergedVerifiers: readonly string[];
  readonly rememberLogins: RememberedLoginSetting;
  /** Absent: nobody signs in by browser. */
  readonly signIn?: SignInSetting;
  readonly policy: ConfiguredDriver<'policy'>;
  /** What `check` tries. */
  readonly policyTests: readonly PolicyTestSetting[];
  readonly token: {
    readonly issuer: ConfiguredDriver<'token-issuer'>;
    /** Other registries, as `host[:port]`, that this proxy issues tokens for. */
    readonly services: readonly string[];
    /** Absent: no refresh tokens. */
    readonly refreshTokens?: RefreshTokenSetting;
  };
  readonly state: ConfiguredDriver<'state-store'>;
  readonly log: { readonly level: LogLevel };
  /** Absent: no audit log. Without a file: standard output. */
  readonly audit?: { readonly file?: FilePath };
  /** Processes that serve together. */
  readonly workers: number;
  /** Milliseconds that new requests are taken for after the signal to stop. */
  readonly drainDelay: number;
  /** Milliseconds that transfers in progress get on shutdown. */
  readonly drainTimeout: number;
}
