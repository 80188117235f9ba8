import { randomBytes } from 'node:crypto';
import { mediaTypes } from '../../../src/testing/manifest-document.js';
import { tinyImage } from '../../../src/testing/tiny-image.js';
import { type CommandResult, succeeded } from './command.js';
import { type DockerRegistry, startDockerRegistry, writeHtpasswd } from './docker-registry.js';
import { type OciLayout, writeOciLayout } from './oci-layout.js';
import { type ProxyAddress, proxyAddress, type RunningProxy, startProxy } from './proxy.js';
import { skopeo } from './skopeo.js';
import type { Workspace } from './workspace.js';

// The house every client's test walks into:
//
//   open/NAME     docker-registry without credentials, team/NAME there
//   closed/NAME   docker-registry with htpasswd, team/NAME there; the proxy alone knows its password
//   hidden/NAME   the same as closed, but no rule lets anyone in
//   mirror        open again, for containerd's `?ns=docker.io`
//
// alice may pull and push everywhere but hidden; bob may pull open; carol may do everything in open, and has hers/ in
// closed without seeing the rest of it.

/** Characters that a careless client or server splits, decodes or escapes. */
const passwords = { alice: 'w0nder:land+%20&/=?', bob: 'bu1lder', carol: 'l00king-glass' };

export interface Front {
  readonly proxy: RunningProxy;
  readonly open: DockerRegistry;
  readonly closed: DockerRegistry;
  /** An index of two platforms; there as `tiny` with the tags 1 and 2 in both registries. */
  readonly image: OciLayout;
  readonly passwords: typeof passwords;
  /** The proxy's configuration without what `startProxy` fills in. */
  readonly configuration: object;
  /** Asks the registry itself for `NAME:TAG`. @returns the manifest's digest; undefined where it is not there */
  stored(registry: 'open' | 'closed', image: string): Promise<string | undefined>;
  /** @throws an Error where the proxy ever wrote a password, a header with one, or a token */
  assertNoSecretWritten(): void;
}

export interface FrontOptions {
  /** A free one where it is missing. */
  readonly address?: ProxyAddress;
  /** More of the configuration. */
  readonly settings?: object;
}

/** Starts two registries and the proxy in front of them. */
export async function startFront(workspace: Workspace, options: FrontOptions = {}): Promise<Front> {
  const upstreamPassword = randomBytes(12).toString('hex');
  const users = { robot: upstreamPassword };
  const open = await startDockerRegistry(workspace);
  const closed = await startDockerRegistry(workspace, { kind: 'htpasswd', users });
  const image = writeOciLayout(workspace, 'tiny', tinyImage('hello'));
  for (const tag of ['1', '2']) {
    await upload(workspace, image, `${open.host}/team/tiny:${tag}`);
    await upload(workspace, image, `${closed.host}/team/tiny:${tag}`, `robot:${upstreamPassword}`);
  }
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', passwords);
  workspace.file('proxy/upstream-password', upstreamPassword);
  const configuration = { ...frontConfiguration(open, closed), ...options.settings };
  const proxy = await startProxy(workspace, options.address ?? (await proxyAddress()), configuration);
  const secrets = [...Object.entries(passwords), ...Object.entries(users)].flatMap(formsOf);
  const assertNoSecretWritten = () => refuseSecrets(proxy.output(), secrets);
  const stored: Front['stored'] = (registry, tagged) =>
    registry === 'open' ? storedAt(open, tagged) : storedAt(closed, tagged, `robot:${upstreamPassword}`);
  return { proxy, open, closed, image, passwords, configuration, stored, assertNoSecretWritten };
}

function frontConfiguration(open: DockerRegistry, closed: DockerRegistry): object {
  const credentials = { type: 'static', username: 'robot', password: { file: 'upstream-password' } };
  return {
    upstreams: { open: { url: open.url }, closed: { url: closed.url, credentials } },
    routes: [
      { prefix: 'open/', upstream: 'open', rewrite: 'team/' },
      { prefix: 'closed/', upstream: 'closed', rewrite: 'team/' },
      { prefix: 'hidden/', upstream: 'closed', rewrite: 'team/' },
      { prefix: 'mirror/', upstream: 'open', ns: 'docker.io' },
    ],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [
      {
        names: ['local:alice'],
        repositories: ['open/**', 'closed/**', 'mirror/**'],
        actions: ['pull', 'push'],
      },
      { names: ['local:bob'], repositories: ['open/**'], actions: ['pull'] },
      { names: ['local:carol'], repositories: ['open/**'], actions: ['pull', 'push', 'delete'] },
      { names: ['local:carol'], repositories: ['closed/hers/**'], actions: ['pull', 'push'] },
    ],
    token: { keys: { directory: 'keys' } },
    state: { type: 'file', path: 'state' },
    log: { level: 'debug' },
  };
}

const manifestTypes = [
  mediaTypes.manifest,
  mediaTypes.index,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
].join(', ');

async function storedAt(
  registry: DockerRegistry,
  image: string,
  credentials?: string,
): Promise<string | undefined> {
  const [name, tag] = image.split(':');
  const basic = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const answer = await fetch(`${registry.url}/v2/team/${name}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { accept: manifestTypes, ...(basic && { authorization: basic }) },
  });
  if (answer.status !== 200 && answer.status !== 404) throw new Error(`${image}: ${answer.status}`);
  return answer.headers.get('docker-content-digest') ?? undefined;
}

/** Copies an image, an index with all it lists, into a registry. @param credentials `user:password` */
export async function upload(
  workspace: Workspace,
  image: OciLayout,
  target: string,
  credentials?: string,
): Promise<CommandResult> {
  const as = credentials === undefined ? ['--dest-no-creds'] : ['--dest-creds', credentials];
  const copy = [
    'copy',
    '--all',
    '--dest-tls-verify=false',
    ...as,
    `oci:${image.directory}:latest`,
    `docker://${target}`,
  ];
  return succeeded(await skopeo(workspace, 'upload')(copy));
}

/** A password as it may turn up: as it is, URL-encoded, in JSON, and as Basic sends it. */
export function formsOf([name, password]: readonly [string, string]): readonly string[] {
  return [
    password,
    encodeURIComponent(password),
    JSON.stringify(password).slice(1, -1),
    Buffer.from(`${name}:${password}`).toString('base64'),
  ];
}

/** A JWT. */
const token = /eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/;

/** @throws an Error with the lines that show a secret or a token, or where there is no output at all */
export function refuseSecrets(output: string, secrets: readonly string[]): void {
  const lines = output.split('\n');
  const shown = lines.filter((line) => token.test(line) || secrets.some((secret) => line.includes(secret)));
  if (lines.length < 2) throw new Error('the proxy wrote nothing: there is nothing to look at');
  if (shown.length > 0) throw new Error(`secrets in the output:\n${shown.join('\n')}`);
}
