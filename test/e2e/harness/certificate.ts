import { run, succeeded } from './command.js';
import type { Workspace } from './workspace.js';

/** Files of a certificate that is its own authority. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  /** With the certificate as `ca.crt`: skopeo's and podman's `--cert-dir`. */
  readonly directory: string;
}

/** @param subject whom it is for, as openssl writes it */
export async function writeCertificate(
  workspace: Workspace,
  subject: `IP:${string}` | `DNS:${string}` = 'IP:127.0.0.1',
): Promise<Certificate> {
  const key = workspace.file('tls/server.key', '');
  const certificate = workspace.file('tls/certs/ca.crt', '');
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=proxy', '-addext', `subjectAltName=${subject}`];
  const files = ['-keyout', key, '-out', certificate];
  const env = workspace.environment();
  succeeded(await run('openssl', ['req', '-x509', ...kind, ...names, ...files], { env }));
  return { certificate, key, directory: workspace.path('tls', 'certs') };
}
