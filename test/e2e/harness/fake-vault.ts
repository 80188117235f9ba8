import { randomBytes } from 'node:crypto';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';

/** A Vault (KV engine, version 2) with one secret. */
export interface FakeVault {
  readonly address: string;
  /** Of the secret, as Vault's API has it. */
  readonly path: string;
  /** What it lets in. */
  readonly token: string;
  /** What it gives from now on. */
  secret: { readonly username: string; readonly password: string };
  close(): Promise<void>;
}

export async function startFakeVault(secret: FakeVault['secret']): Promise<FakeVault> {
  const path = 'secret/data/registries/memory';
  const token = `hvs.${randomBytes(12).toString('base64url')}`;
  const server = await startLoopbackServer((request, response) => {
    const isAllowed = request.headers['x-vault-token'] === token;
    const status = !isAllowed ? 403 : request.url === `/v1/${path}` ? 200 : 404;
    const body = status === 200 ? { data: { data: vault.secret } } : { errors: [] };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  const vault: FakeVault = { address: server.url, path, token, secret, close: () => server.close() };
  return vault;
}
