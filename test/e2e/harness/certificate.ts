import { run, succeeded } from './command.js';
import type { Workspace } from './workspace.js';

/** Files of a certificate for 127.0.0.1 that is its own authority. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  /** With the certificate as `ca.crt`: skopeo's and podman's `--cert-dir`. */
  readonly directory: string;
}

export async function writeCertificate(workspace: Workspace): Promise<Certificate> {
  const key = workspace.file('tls/server.key', '');
  const certificate = workspace.file('tls/certs/ca.crt', '');
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=proxy', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-keyout', key, '-out', certificate];
  const env = workspace.environment();
  succeeded(await run('openssl', ['req', '-x509', ...kind, ...subject, ...files], { env }));
  return { certificate, key, directory: workspace.path('tls', 'certs') };
}
