import type { FilePath } from '../../settings/file-path.js';
import type { ImagePattern } from '../../settings/image-pattern.js';
import type { ListenAddress } from '../../settings/listen-address.js';
import type { NamePattern } from '../../settings/name-pattern.js';
import type { SocketAddress } from '../../settings/socket-address.js';
import type { ConfiguredCredential, ConfiguredDriver, LogLevel, NamedFile } from '../configuration.js';
import type { Problem } from '../problem.js';

/** Which images are pulled with which credential. */
export interface ImageRuleSetting {
  /** `images[0]`. */
  readonly setting: string;
  /** What messages, metrics and `status` call it: its pattern; a number follows where an earlier rule has the same. */
  readonly name: string;
  readonly match: ImagePattern;
  /** Absent: of any. */
  readonly namespaces?: readonly NamePattern[];
  /** All of them must match; absent or empty: any. */
  readonly annotations?: ReadonlyMap<string, NamePattern>;
  /** Absent where there is a `podIdentity` alone. */
  readonly credential?: ConfiguredCredential;
  /** For the credential provider: what is shown is the pod's own token. */
  readonly podIdentity?: { readonly audience: string; readonly username: string };
}

/** What one configuration file of `kubelet-image-service` says, checked as a whole. */
export interface ImageServiceConfiguration {
  /** Absolute. */
  readonly file: string;
  /** @param setting `images[0].credentials`. @returns where it stands, or the innermost one around it that is there */
  placeOf(setting: string): Omit<Problem, 'message'>;
  /** The parsed file as it is. For comparing; never printed. */
  readonly raw: unknown;
  readonly namedFiles: readonly NamedFile[];
  /** The file's directory: relative names count from here. */
  readonly baseDirectory: string;
  readonly listen: SocketAddress;
  /** Permission bits, such as 0o600. */
  readonly socketMode: number;
  readonly directoryMode: number;
  /** Absent in a file that is for the credential provider alone. */
  readonly runtime?: ConfiguredDriver<'runtime'>;
  /** In the order in which they are tried. */
  readonly images: readonly ImageRuleSetting[];
  /** Milliseconds. */
  readonly credentialTimeout: number;
  readonly admin: {
    readonly socket: { readonly path: string };
    readonly listen?: ListenAddress;
  };
  readonly log: { readonly level: LogLevel };
  /** Absent: no audit log. Without a file: standard output. */
  readonly audit?: { readonly file?: FilePath };
  /** Milliseconds that running pulls get after the signal to stop. */
  readonly drainTimeout: number;
}

/** One that `serve` can serve by. */
export interface ServedImageConfiguration extends ImageServiceConfiguration {
  readonly runtime: ConfiguredDriver<'runtime'>;
}
