const notTrusted = 'its certificate is not trusted: name its authority as `ca`';
const notTls = 'it does not speak TLS here: is it http://?';
const notResolved = 'its name cannot be resolved';

/** By the code of an error of Node's. */
const hints: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: notTrusted,
  SELF_SIGNED_CERT_IN_CHAIN: notTrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: notTrusted,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notTls,
  EPROTO: notTls,
  ENOTFOUND: notResolved,
  EAI_AGAIN: notResolved,
};

/** What an operator may do about a connection that failed, for the log. */
export function connectionHint(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 6; depth++) {
    const { code } = e as NodeJS.ErrnoException;
    // Whoever sends an alert speaks TLS.
    const alert = code === 'EPROTO' && /\balert\b/.test(e.message);
    const hint = typeof code === 'string' && Object.hasOwn(hints, code) && !alert ? hints[code] : undefined;
    if (hint !== undefined) return hint;
    e = e instanceof AggregateError && e.cause === undefined ? e.errors[0] : e.cause;
  }
  return undefined;
}
