import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Dispatcher, ProxyAgent, request } from 'undici';
import { type ImageFiles, tinyImage } from '../../../src/testing/index.js';
import { requirePrograms } from '../../e2e/harness/require-programs.js';
import { openWorkspace } from '../../e2e/harness/workspace.js';
import {
  type Answer,
  type ClientRequest,
  type Front,
  overwrite,
  pushImage,
  type Scope,
  send,
  startFront,
} from '../../harness/index.js';
import type { BearerFront, FrontWorld } from './front-bearer.js';
import { type Storage, startStorage } from './storage.js';
import { startWorld, type World } from './world.js';

// A registry as clients of ours meet it: our proxy, the registry's front at its real names, a docker-registry behind it.

/** One registry of the tests. */
export interface FrontRow<F extends BearerFront = BearerFront> {
  readonly name: string;
  /** As an operator writes it. */
  readonly url: string;
  readonly username: string;
  readonly start: (surroundings: FrontWorld) => F;
}

export interface FrontHouse<F extends BearerFront = BearerFront> {
  readonly row: FrontRow<F>;
  readonly world: World;
  readonly storage: Storage;
  /** There as `acme/app:1`. */
  readonly image: ImageFiles;
  /** Into the storage, past every front. */
  put(repository: string, tag: string, image: ImageFiles): Promise<void>;
  /** Asks a host of the world itself. */
  ask(url: string | URL, options?: Omit<Dispatcher.RequestOptions, 'origin' | 'path'>): Promise<WorldAnswer>;
  /** A registry of its own with a password of its own, and our proxy in front of it. */
  open(scope: Scope, options?: OpenOptions): Promise<OpenFront<F>>;
}

export interface WorldAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface OpenOptions {
  readonly blobs?: 'stream' | 'redirect';
  /** In YAML on one line, in place of the row's user with the file `secret`. */
  readonly credentials?: string;
  readonly files?: Readonly<Record<string, string>>;
  /** What the row's user may do; everything where it is missing. */
  readonly may?: FrontWorld['accounts'][number]['may'];
  readonly isPublic?: FrontWorld['isPublic'];
}

export interface OpenFront<F extends BearerFront = BearerFront> {
  readonly registry: F;
  readonly proxy: Front;
  readonly password: string;
  /** As alice, who may do everything. */
  send(path: string, options?: ClientRequest): Promise<Answer>;
  /** Everything a client ever got here: headers and bodies. */
  answered(): string;
  /** Another password in the file and at the registry, at the same moment; tokens end. */
  rotate(): string;
}

/** Characters that a careless client or server splits, decodes or escapes; and never the same twice. */
export function oddPassword(): string {
  return `pa:ss+/%3d&"ü ${randomBytes(9).toString('hex')}`;
}

/** @returns undefined where a program is missing: the test was skipped then; return */
export async function openFrontHouse<F extends BearerFront>(
  t: TestContext,
  row: FrontRow<F>,
): Promise<FrontHouse<F> | undefined> {
  if (!requirePrograms(t)) return undefined;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const world = await startWorld();
  t.after(() => world.close());
  const storage = await startStorage(workspace);
  const image = tinyImage(row.name);
  const agent = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
  t.after(() => agent.destroy());
  const [, port] = storage.host.split(':');
  const put: FrontHouse['put'] = async (repository, tag, files) => {
    const answer = await pushImage(
      (path, options) => send(Number(port), path, options),
      repository,
      tag,
      files,
    );
    if (answer.status !== 201) throw new Error(`${repository}:${tag} was not put there: ${answer.status}`);
  };
  await put('acme/app', '1', image);
  return {
    row,
    world,
    storage,
    image,
    put,
    ask: (url, options) => askWorld(agent, url, options),
    open: (scope, options) => openFront(scope, { row, world, storage }, options),
  };
}

async function askWorld(
  dispatcher: Dispatcher,
  url: string | URL,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> = { method: 'GET' },
): Promise<WorldAnswer> {
  const answer = await request(url, { ...options, dispatcher });
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
  return { status: answer.statusCode, headers: Object.fromEntries(headers), text: await answer.body.text() };
}

async function openFront<F extends BearerFront>(
  scope: Scope,
  { row, world, storage }: Pick<FrontHouse<F>, 'row' | 'world' | 'storage'>,
  { blobs = 'stream', credentials, files = {}, may = ['pull', 'push', 'delete'], isPublic }: OpenOptions = {},
): Promise<OpenFront<F>> {
  const { username } = row;
  const password = oddPassword();
  const accounts = [{ username, password, may }];
  const registry = row.start({ world, storage, accounts, ...(isPublic && { isPublic }) });
  const own = `{ type: static, username: "${username}", password: { file: secret } }`;
  const proxy = await startFront(
    scope,
    `
upstreams:
  one: { url: ${row.url}, proxy: "${world.proxyUrl}", ca: world.pem, blobs: ${blobs}, credentials: ${credentials ?? own} }
routes:
  - { prefix: "", upstream: one, rewrite: acme/ }
  - { prefix: "top/", upstream: one }
`,
    { files: { secret: password, 'world.pem': world.authority, ...files } },
  );
  const answers: string[] = [];
  return {
    registry,
    proxy,
    password,
    send: async (path, options) => {
      const answer = await proxy.sendAs('alice', path, options);
      answers.push(answer.rawHeaders.join('\n'), answer.text);
      return answer;
    },
    answered: () => answers.join('\n'),
    rotate: () => {
      const next = oddPassword();
      overwrite(join(proxy.directory, 'secret'), next, 'renamed');
      registry.setPassword(username, next);
      registry.revokeTokens();
      return next;
    },
  };
}
