import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { type JwtTransform, OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';

/** Answers instead of the issuer. */
export type Fault = RequestListener;

export interface MockIssuer {
  /** Also the issuer's name, where it was not given another. */
  readonly url: string;
  /** The paths that were asked for. */
  readonly requests: readonly string[];
  /** What answers for a path instead; remove it to end it. */
  readonly faults: Map<string, Fault>;
  /** The present private keys, with `kid` and `alg`. */
  readonly keys: readonly JWK[];
  /** A token that holds `iss`, `iat`, `nbf`, `exp` and what the transform changes in it. */
  token(transform: JwtTransform): Promise<string>;
  /** Signs exactly these, with the first key. */
  sign(
    header: Readonly<Record<string, unknown>>,
    payload: Readonly<Record<string, unknown>>,
  ): Promise<string>;
  close(): Promise<void>;
}

export const discoveryPath = '/.well-known/openid-configuration';
export const keysPath = '/jwks';

/**
 * An issuer that signs whatever it is told (`oauth2-mock-server`), on the loopback interface.
 *
 * @param algorithms of its keys
 * @param name of the issuer in tokens and discovery, by the address it has
 */
export async function startMockIssuer(
  algorithms: readonly string[] = ['RS256'],
  name: (url: string) => string = (url) => url,
): Promise<MockIssuer> {
  const issuer = new OAuth2Issuer();
  for (const alg of algorithms) await issuer.keys.add({ ...(await privateKey(alg)) });
  const serve = new OAuth2Service(issuer, { jwks: keysPath }).requestHandler;
  const requests: string[] = [];
  const faults = new Map<string, Fault>();
  const server = await startLoopbackServer((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    (faults.get(path) ?? serve)(request, response);
  });
  issuer.url = name(server.url);
  const { keys } = issuer;
  return {
    url: server.url,
    requests,
    faults,
    get keys() {
      return keys.toJSON(true);
    },
    token: (transform) => issuer.buildToken({ scopesOrTransform: transform }),
    async sign(header, payload) {
      const [key] = keys.toJSON(true);
      if (key === undefined) throw new Error('it has no key');
      return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key);
    },
    close: () => server.close(),
  };
}

/** A private key with `kid` and `alg`. */
export async function privateKey(alg: string): Promise<JWK & { kid: string; alg: string }> {
  const { privateKey: key } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(key)), kid: randomUUID(), alg };
}
