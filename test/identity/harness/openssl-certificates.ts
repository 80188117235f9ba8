import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface OpensslOptions {
  /** Of `-newkey`, and `-pkeyopt` where it says more. */
  readonly key?: readonly string[];
  /** Of `req` and `x509`: `-sha1`. */
  readonly signature?: readonly string[];
  /** Lines of a section of openssl's configuration. */
  readonly extensions?: readonly string[];
}

const p256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

/** Certificates as openssl makes them: it still makes the weak ones. Gone after the test. */
export function opensslCertificates(t: TestContext, openssl: string) {
  const directory = mkdtempSync(join(tmpdir(), 'openssl-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const run = (...args: readonly string[]) =>
    execFileSync(openssl, args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  let count = 0;
  /** @param by who signs; absent: it does so itself */
  const issue = (name: string, options: OpensslOptions, by?: string): string => {
    const { key = p256, signature = ['-sha256'], extensions = [] } = options;
    const at = `${name}-${count++}`;
    writeFileSync(join(directory, `${at}.ext`), [...extensions, ''].join('\n'));
    run(
      'req',
      '-new',
      '-newkey',
      ...key,
      '-nodes',
      '-keyout',
      `${at}.key`,
      '-subj',
      `/CN=${name}`,
      '-out',
      `${at}.csr`,
    );
    const signer = by === undefined ? ['-signkey', `${at}.key`] : ['-CA', `${by}.pem`, '-CAkey', `${by}.key`];
    run(
      ...['x509', '-req', '-in', `${at}.csr`, '-days', '1', '-set_serial', String(1000 + count)],
      ...[...signer, ...signature, '-extfile', `${at}.ext`, '-out', `${at}.pem`],
    );
    return at;
  };
  return {
    authority: (options: OpensslOptions = {}, by?: string) =>
      issue('authority', { extensions: ['basicConstraints=critical,CA:TRUE'], ...options }, by),
    client: (by: string, options: OpensslOptions = {}) => issue('alice', options, by),
    pem: (of: string) => readFileSync(join(directory, `${of}.pem`), 'utf8'),
  };
}
