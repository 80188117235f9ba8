import { z } from 'zod';
import type { Credential, CredentialTarget } from '../contracts/index.js';
import { Secret } from '../secret.js';

const entry = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

const helperName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);

/** docker/cli `cli/config/configfile`; what else is in the file is not ours. */
const document = z.looseObject({
  auths: z.record(z.string(), entry).optional(),
  credHelpers: z.record(z.string(), helperName).optional(),
  credsStore: z.union([z.literal(''), helperName]).optional(),
});

/** A docker `config.json`, with its keys in one form: `host[:port]`, with podman's `host/namespace` too. */
export interface DockerConfig {
  readonly credentials: ReadonlyMap<string, Credential>;
  readonly helpers: ReadonlyMap<string, string>;
  readonly store?: string;
}

/** @throws an Error that quotes nothing of the file */
export function parseDockerConfig(text: string): DockerConfig {
  const parsed = document.safeParse(parseJson(text));
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new Error(`it is not a docker config.json${where === '' ? '' : `: ${where} is wrong`}`);
  }
  const { auths = {}, credHelpers = {}, credsStore } = parsed.data;
  const credentials = new Map<string, Credential>();
  for (const [key, value] of Object.entries(auths)) {
    const credential = credentialOf(value, key);
    if (credential !== undefined) credentials.set(normalizeKey(key), credential);
  }
  const helpers = new Map(Object.entries(credHelpers).map(([key, name]) => [normalizeKey(key), name]));
  return { credentials, helpers, ...(credsStore && { store: credsStore }) };
}

/** A parse error of JSON quotes the text, which holds passwords. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
}

/** @returns undefined for an empty entry, which docker leaves beside a credential store */
function credentialOf(value: z.output<typeof entry>, key: string): Credential | undefined {
  if (value.identitytoken) return { kind: 'identity-token', token: new Secret(value.identitytoken) };
  if (value.registrytoken) return { kind: 'registry-token', token: new Secret(value.registrytoken) };
  if (value.auth) {
    const decoded = Buffer.from(value.auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (colon <= 0) throw new Error(`the auth of ${key} is not the base64 of user:password`);
    // Old versions of docker padded with NUL.
    const password = decoded.slice(colon + 1).replace(/\0+$/, '');
    return { kind: 'basic', username: decoded.slice(0, colon), password: new Secret(password) };
  }
  if (!value.username || value.password === undefined) return undefined;
  return { kind: 'basic', username: value.username, password: new Secret(value.password) };
}

/**
 * The keys a repository may stand under, the narrowest first: podman (containers-auth.json) lets an entry be for a
 * namespace.
 */
export function keysFor({ registry, name }: CredentialTarget): readonly string[] {
  const host = normalizeHost(registry);
  const parts = name?.split('/') ?? [];
  return [...parts.map((_, i) => `${host}/${parts.slice(0, parts.length - i).join('/')}`), host];
}

/** `https://index.docker.io/v1/` and its like are keys of docker's; the path means something only without a scheme. */
function normalizeKey(key: string): string {
  const bare = key.replace(/^https?:\/\//i, '');
  const [host = '', ...path] = bare.split('/');
  const version = /^v[12]?$/.test(path[0] ?? '') || bare !== key;
  const rest = version ? [] : path.filter((part) => part !== '');
  return [normalizeHost(host), ...rest].join('/');
}

const dockerHub = 'docker.io';

function normalizeHost(host: string): string {
  const lower = host.toLowerCase();
  return lower === 'index.docker.io' || lower === 'registry-1.docker.io' ? dockerHub : lower;
}

/** What a helper knows a registry by, as docker asks for it. */
export function helperServer(registry: string): string {
  const host = normalizeHost(registry);
  return host === dockerHub ? 'https://index.docker.io/v1/' : host;
}
