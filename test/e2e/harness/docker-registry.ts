import { run, succeeded } from './command.js';
import { freePort } from './free-port.js';
import { answers, type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

/** How the registry wants to be asked. */
export type RegistryAuth =
  | { readonly kind: 'open' }
  | { readonly kind: 'htpasswd'; readonly users: Readonly<Record<string, string>> }
  | {
      readonly kind: 'token';
      readonly realm: string;
      readonly service: string;
      readonly issuer: string;
      /** PEM of the certificates that anchor the tokens' `x5c`. */
      readonly rootCertificates: string;
    };

export interface DockerRegistry extends Program {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
}

/**
 * Starts Debian's docker-registry (distribution 2.8) with an empty store.
 *
 * @param settings more of its configuration
 */
export async function startDockerRegistry(
  workspace: Workspace,
  auth: RegistryAuth = { kind: 'open' },
  port?: number,
  settings: object = {},
): Promise<DockerRegistry> {
  const host = `127.0.0.1:${port ?? (await freePort())}`;
  const name = `registry-${host.split(':')[1]}`;
  const configuration = {
    version: 0.1,
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: workspace.path(name) }, delete: { enabled: true } },
    http: { addr: host },
    ...(await authSection(workspace, name, auth)),
    ...settings,
  };
  // JSON is YAML.
  const file = workspace.file(`${name}.yml`, JSON.stringify(configuration));
  const program = await startProgram(workspace, {
    command: 'docker-registry',
    args: ['serve', file],
    ready: () => answers(`http://${host}/v2/`),
  });
  return { ...program, host, url: `http://${host}` };
}

async function authSection(workspace: Workspace, name: string, auth: RegistryAuth): Promise<object> {
  switch (auth.kind) {
    case 'open':
      return {};
    case 'htpasswd':
      return {
        auth: {
          htpasswd: { realm: 'test', path: await writeHtpasswd(workspace, `${name}.htpasswd`, auth.users) },
        },
      };
    case 'token': {
      const rootcertbundle = workspace.file(`${name}.pem`, auth.rootCertificates);
      const { realm, service, issuer } = auth;
      return { auth: { token: { realm, service, issuer, rootcertbundle } } };
    }
  }
}

/** Writes users and passwords as Apache's `htpasswd -B` hashes them. @returns the file's absolute path */
export async function writeHtpasswd(
  workspace: Workspace,
  name: string,
  users: Readonly<Record<string, string>>,
): Promise<string> {
  const lines: string[] = [];
  for (const [user, password] of Object.entries(users)) {
    const hashed = await run('htpasswd', ['-Bin', user], { env: workspace.environment(), input: password });
    lines.push(succeeded(hashed).stdout.trim());
  }
  return workspace.file(name, `${lines.join('\n')}\n`);
}
