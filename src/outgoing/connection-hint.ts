import type { Secret } from '../secret.js';

/** Why there is no connection. */
export interface ConnectionFault {
  readonly what: string;
  /** What an operator may do about it. */
  readonly fix: string;
}

interface KnownFault extends ConnectionFault {
  /** Where a log line says more than the error of Node's does. */
  readonly hint?: string;
  /** There is no connection at all: through a proxy none but the proxy itself is connected to. */
  readonly isUnconnected?: boolean;
}

/** What went wrong with a server that is asked through a proxy. */
export class ProxiedError extends Error {
  override readonly name = 'ProxiedError';
  /** `host[:port]` of the proxy. */
  readonly proxy: string;

  /** @param proxy its URL; the user name and the password in it are not kept */
  constructor(proxy: Secret, cause: unknown) {
    const { host } = new URL(proxy.reveal());
    super(`through the proxy ${host}`, { cause });
    this.proxy = host;
  }
}

const notTrusted = {
  what: 'its certificate is not trusted',
  fix: 'name the PEM file of its authority as `ca`',
  hint: 'its certificate is not trusted: name its authority as `ca`',
};
const otherKey = {
  what: 'its certificate was signed with another key than `ca` has',
  fix: '`ca` has the same name as its authority: is it an old one? Take the present one',
  hint: 'its certificate was signed with another key than `ca` has: is `ca` an old one?',
};
const notTls = {
  what: 'it does not speak TLS here',
  fix: 'write http:// in `url`, if it is a server without TLS',
  hint: 'it does not speak TLS here: is it http://?',
};
const notResolved = {
  what: 'its name cannot be resolved',
  fix: "check the name, and this machine's DNS",
  hint: 'its name cannot be resolved',
  isUnconnected: true,
};
const noWay = {
  what: 'it cannot be reached',
  isUnconnected: true,
  fix: 'is a firewall between? What is reached through a proxy wants `proxy`',
};
const cut = {
  what: 'it closed the connection',
  fix: 'is it the right port, and does it speak what `url` says, https or http?',
};

/** By the code of an error of Node's or of undici's. */
const faults: Readonly<Record<string, KnownFault>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: notTrusted,
  SELF_SIGNED_CERT_IN_CHAIN: notTrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: notTrusted,
  CERT_SIGNATURE_FAILURE: otherKey,
  CERT_HAS_EXPIRED: {
    what: 'its certificate has expired',
    fix: 'it needs a new one',
    hint: 'its certificate has expired',
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    what: 'its certificate is for another name',
    fix: '`url` must be a name the certificate has',
    hint: 'its certificate is for another name',
  },
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notTls,
  EPROTO: notTls,
  ENOTFOUND: notResolved,
  EAI_AGAIN: notResolved,
  ECONNREFUSED: {
    what: 'the connection is refused',
    isUnconnected: true,
    fix: 'does it run there, and is the port right?',
  },
  EHOSTUNREACH: noWay,
  ENETUNREACH: noWay,
  ETIMEDOUT: noWay,
  UND_ERR_CONNECT_TIMEOUT: noWay,
  ECONNRESET: cut,
  EPIPE: cut,
  UND_ERR_SOCKET: cut,
  UND_ERR_HEADERS_TIMEOUT: { what: 'it does not answer in time', fix: 'is it overloaded?' },
  // undici's, for a CONNECT that is not answered with 200, among others.
  UND_ERR_ABORTED: {
    what: 'the proxy does not lead there',
    fix: 'does the proxy know the name, allow it, and take its password?',
  },
};

/** What an operator may do about a connection that failed, for the log. */
export function connectionHint(error: unknown): string | undefined {
  return find(error, ({ hint }) => hint !== undefined)?.hint;
}

/** Why a connection failed; never in words of the other side's. @returns undefined where it is none of the known faults */
export function connectionFault(error: unknown): ConnectionFault | undefined {
  return find(error, () => true);
}

/** A source, what wraps it, and the transport each wrap an error once or twice. */
const maxDepth = 8;

function find(error: unknown, fits: (fault: KnownFault) => boolean): KnownFault | undefined {
  let proxy: string | undefined;
  for (let e = error, depth = 0; e instanceof Error && depth < maxDepth; depth++) {
    if (e instanceof ProxiedError) proxy = e.proxy;
    const { code } = e as NodeJS.ErrnoException;
    // Whoever sends an alert speaks TLS, and not all that is aborted is a tunnel.
    const isOther =
      (code === 'EPROTO' && /\balert\b/.test(e.message)) ||
      (code === 'UND_ERR_ABORTED' && !/\btunnel/i.test(e.message));
    const fault =
      typeof code === 'string' && Object.hasOwn(faults, code) && !isOther ? faults[code] : undefined;
    if (fault !== undefined && fits(fault)) return proxy === undefined ? fault : behind(proxy, fault);
    e = e instanceof AggregateError && e.cause === undefined ? e.errors[0] : e.cause;
  }
  return undefined;
}

/** @param proxy through which it was asked */
function behind(proxy: string, fault: KnownFault): KnownFault {
  if (fault.isUnconnected !== true) return fault;
  const what = `the proxy ${proxy} is not reached: ${fault.what}`;
  const fix = 'is `proxy` right, and does the proxy run?';
  return { what, fix, ...(fault.hint !== undefined && { hint: what }) };
}
