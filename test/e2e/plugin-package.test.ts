import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type MemoryRegistry, startMemoryRegistry, tinyImage } from '../../src/testing/index.js';
import { basic, claimsOf } from '../harness/index.js';
import { type CommandResult, run, succeeded } from './harness/command.js';
import { type FakeVault, startFakeVault } from './harness/fake-vault.js';
import { accepts, type Program, startProgram } from './harness/program.js';
import { type ProxyAddress, proxyAddress } from './harness/proxy.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// What an author and an operator of a plugin do: pack it, install it with the proxy in an empty folder, run it there.

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const key = `key_${randomBytes(32).toString('base64url')}`;
const wrong = `key_${randomBytes(32).toString('base64url')}`;
const example = 'docker-registry-proxy-example-api-keys';
const vaultExample = 'docker-registry-proxy-example-vault';
/** By the name of its package: where it is, and its files beside the package's own. */
const examples = {
  [example]: { at: 'examples/verifier-plugin', code: 'api-keys' },
  [vaultExample]: { at: 'examples/credential-plugin', code: 'vault-kv' },
} as const;
const serveArguments = ['serve', '--config', 'proxy.yaml'];
const compilerOptions = [
  '--noEmit',
  '--strict',
  '--skipLibCheck',
  '--module',
  'nodenext',
  '--target',
  'es2023',
];
const sha256 = createHash('sha256').update(key).digest('hex');

let workspace: Workspace;
let folder: string;
let address: ProxyAddress;
let registry: MemoryRegistry;
let vault: FakeVault;
let proxy: Program;

before(async () => {
  workspace = await openWorkspace();
  folder = workspace.path('installed');
  const tarballs = workspace.path('tarballs');
  for (const directory of [folder, tarballs]) mkdirSync(directory);
  await packThis(tarballs);
  for (const { at } of Object.values(examples)) {
    await npm(join(root, at), 'pack', '--pack-destination', tarballs);
  }
  const files = readdirSync(tarballs).map((name) => join(tarballs, name));
  assert.equal(files.length, 3, files.join());
  // Nothing may depend on a package's install script.
  const options = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  await npm(folder, 'install', ...options, ...files);

  vault = await startFakeVault(atRegistry(1));
  workspace.onClose(() => vault.close());
  workspace.file('installed/vault-token', `${vault.token}\n`);
  registry = await startMemoryRegistry({ auth: { kind: 'basic', ...atRegistry(1) } });
  workspace.onClose(() => registry.close());
  registry.putImage('builds/app', '1', tinyImage('packed'));
  address = await proxyAddress();
  workspace.file('installed/keys.json', JSON.stringify({ 'ci-main': { sha256, groups: ['builders'] } }));
  workspace.file('installed/secret', 'wonderland\n');
  configure('proxy.yaml', [
    { id: 'keys', module: example, file: 'keys.json' },
    { id: 'one', module: guidesPlugin(), username: 'alice', password: { file: 'secret' } },
  ]);
});

after(() => workspace?.close());

describe('the packages', () => {
  it('hold what they need, and nothing else', () => {
    const installed = (name: string) => readdirSync(join(folder, 'node_modules', name)).sort();
    assert.deepEqual(installed('docker-registry-proxy'), ['LICENSE', 'README.md', 'dist', 'package.json']);
    for (const [name, { code }] of Object.entries(examples)) {
      assert.deepEqual(installed(name), ['README.md', `${code}.js`, 'package.json'].sort());
      assert.ok(
        !existsSync(join(folder, 'node_modules', name, 'node_modules')),
        'a second copy of the proxy',
      );
    }
  });

  for (const { at, code } of Object.values(examples)) {
    it(`let ${at} pass its own tests, with the conformance suite`, async () => {
      cpSync(join(root, at, `${code}.test.js`), join(folder, `${code}.test.mjs`));
      const result = await inFolder(process.execPath, '--test', '--test-reporter=tap', `${code}.test.mjs`);
      assert.match(succeeded(result).output, /# tests 1\d\n(?:.*\n)*# fail 0/);
    });
  }

  it('tell a compiler the types of a plugin', async () => {
    workspace.file('installed/typed.mts', typed('name'));
    workspace.file('installed/wrong.mts', typed('nmae'));
    const compile = (file: string) =>
      inFolder(process.execPath, join(root, 'node_modules/typescript/bin/tsc'), ...compilerOptions, file);
    succeeded(await compile('typed.mts'));
    assert.match((await compile('wrong.mts')).output, /wrong\.mts.*error TS\d+: .*'nmae'/);
  });
});

describe('the proxy with the plugin', () => {
  it('checks it', async () => {
    assert.equal((await check('proxy.yaml')).code, 0);
    const missing = { id: 'keys', module: example, file: 'absent.json' };
    configure('faulty.yaml', [
      missing,
      { id: 'more', module: example, fil: 'keys.json' },
      { id: 'one', module: '../elsewhere/one-user.mjs', username: 'alice', password: { file: 'nothing' } },
    ]);
    const { code, output } = await check('faulty.yaml');
    assert.equal(code, 2, output);
    assert.match(output, /verifiers\[0\]\.file: absent\.json does not exist/);
    assert.match(output, /verifiers\[1\]\.fil.*did you mean 'file'/);
    assert.match(output, /verifiers\[2\]\.password\.file: nothing does not exist/);
  });

  it('says what is wrong with a module', async () => {
    const modules = {
      './absent.js': [undefined, /there is no file .*absent\.js/],
      './lib': [undefined, /lib is a directory; name the file in it/],
      './typed.ts': [
        'enum Kind { human }\nexport const driver: number = Kind.human;',
        /it is TypeScript: compile it/,
      ],
      './common/own.js': [
        "import 'node:fs'; export const driver = 1;",
        /name it \.mjs, or write "type": "module"/,
      ],
      './old.mjs': [pluginOf('apiVersion: 0'), /made for apiVersion 0; this program has 1/],
      './throws.mjs': ['throw new Error("no database");', /throws\.mjs does not load: no database/],
      'own.js': [pluginOf('apiVersion: 1'), /a file is written with its directory: \.\/own\.js/],
      'docker-registry-proxy-nobody': [undefined, /no package docker-registry-proxy-nobody is installed for/],
      'docker-registry-proxy': [undefined, /docker-registry-proxy does not load: /],
    } as const;
    workspace.file('installed/common/package.json', '{ "type": "commonjs" }');
    mkdirSync(join(folder, 'lib'));
    for (const [name, [code]] of Object.entries(modules)) {
      if (code !== undefined) workspace.file(`installed/${name}`, code);
    }
    configure(
      'faulty.yaml',
      Object.keys(modules).map((module, i) => ({ id: `v${i}`, module })),
    );
    const { output } = await check('faulty.yaml');
    const lines = output.split('\n');
    for (const [i, [, message]] of Object.values(modules).entries()) {
      assert.match(lines.find((line) => line.includes(`verifiers[${i}].module`)) ?? output, message);
    }
  });

  it('serves: a key lets in where the policy says, and nowhere else', async () => {
    const [command = '', args] = [join(folder, 'node_modules/.bin/docker-registry-proxy'), serveArguments];
    const ready = () => accepts(address.host);
    proxy = await startProgram(workspace, { command, args, cwd: folder, ready });
    const answer = await ask('/token?service=&scope=repository:builds/app:pull,push', key);
    assert.equal(answer.status, 200, answer.text);
    const { token } = JSON.parse(answer.text) as { token: string };
    assert.deepEqual(claimsOf(token).access, [{ type: 'repository', name: 'builds/app', actions: ['pull'] }]);
    assert.equal((await ask('/v2/builds/app/manifests/1', key)).status, 200);
    assert.equal((await ask('/v2/secret/app/manifests/1', key)).status, 403);
  });

  it('serves with the plugin of the guide', async () => {
    const loginOf = async (password: string) => (await ask('/token', password, 'alice')).status;
    assert.deepEqual([await loginOf('wonderland'), await loginOf('wonderlan')], [200, 401]);
  });

  it('shows the registry what its own source gives, also after that was changed', async () => {
    vault.secret = atRegistry(2);
    registry.setCredentials(vault.secret.username, vault.secret.password);
    const pulls = async () => (await ask('/v2/builds/app/manifests/1', key)).status === 200;
    assert.ok(await waitFor(pulls, 20_000), 'the new password is not used');
  });

  it('refuses another key, also after the file was changed', async () => {
    assert.equal((await ask('/token', wrong)).status, 401);
    workspace.file('installed/keys.json', '{}');
    const refused = async () => (await ask('/token', key)).status === 401; // an accepted login is remembered a second
    assert.ok(await waitFor(refused, 20_000), 'it is still accepted');
  });

  it('tells nobody the keys', () => {
    assert.match(proxy.output(), /no such key/);
    const passwords = [atRegistry(1), atRegistry(2)].map(({ password }) => password);
    for (const secret of [key, wrong, vault.token, ...passwords]) {
      assert.ok(!proxy.output().includes(secret), 'a secret in the log');
    }
  });
});

/**
 * Packs a copy of this package: packing builds, and must not disturb those who run what was built. Where that was done
 * for this run it is taken as it is.
 */
async function packThis(tarballs: string): Promise<void> {
  const isBuilt = process.env.TEST_BUILT === '1';
  const copy = workspace.path('copy');
  mkdirSync(copy);
  const sources = isBuilt ? ['dist'] : ['src', 'tsconfig.json', 'tsconfig.build.json'];
  for (const name of [...sources, 'package.json', 'README.md', 'LICENSE']) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  await npm(copy, 'pack', '--pack-destination', tarballs, ...(isBuilt ? ['--ignore-scripts'] : []));
}

/** With the cache and the registry of whoever runs the tests, and no other settings of the npm that does. */
async function npm(cwd: string, ...args: readonly string[]): Promise<void> {
  const kept =
    /^(?:npm_config_(?:cache|registry|userconfig|cafile)|(?:https?|no)_proxy|NODE_EXTRA_CA_CERTS)$/i;
  const settings = Object.fromEntries(Object.entries(process.env).filter(([name]) => kept.test(name)));
  const env = workspace.environment({ ...settings, HOME: process.env.HOME });
  succeeded(await run('npm', args, { env, cwd }));
}

function inFolder(command: string, ...args: readonly string[]): Promise<CommandResult> {
  return run(command, args, { env: workspace.environment(), cwd: folder });
}

function check(file: string): Promise<CommandResult> {
  return inFolder('npx', '--no-install', 'docker-registry-proxy', 'check', '--config', file);
}

function configure(file: string, verifiers: readonly object[]): void {
  const configuration = {
    ...{ listen: address.host, externalUrl: address.url, verifiers },
    rememberLogins: { accepted: '1s', refused: '1s' },
    upstreams: { memory: { url: registry.url, credentials: vaultCredentials() } },
    routes: [{ prefix: '', upstream: 'memory' }],
    policy: [{ groups: ['keys:builders'], repositories: ['builds/**'], actions: ['pull'] }],
  };
  workspace.file(`installed/${file}`, JSON.stringify(configuration, undefined, 2)); // JSON is YAML
}

function vaultCredentials() {
  const { address: at, path } = vault;
  return { module: vaultExample, address: at, path, token: { file: 'vault-token' } };
}

/** Whom the registry lets in, by the number of the password. */
function atRegistry(number: number) {
  return { username: 'proxy', password: `password-at-the-registry-${number}` };
}

async function ask(path: string, password: string, user = 'ci-main') {
  const authorization = basic(user, password);
  const answer = await fetch(`${address.url}${path.replace('service=', `service=${address.host}`)}`, {
    headers: { authorization },
  });
  return { status: answer.status, text: await answer.text() };
}

/** The plugin that docs/plugins.md shows, in a folder that only links to the proxy. @returns what `module` is then */
function guidesPlugin(): string {
  const code = /```js\n(.+?)```/s.exec(readFileSync(join(root, 'docs/plugins.md'), 'utf8'))?.[1] ?? '';
  workspace.file('elsewhere/one-user.mjs', code);
  mkdirSync(workspace.path('elsewhere', 'node_modules'));
  const linked = join('node_modules', 'docker-registry-proxy');
  symlinkSync(join(folder, linked), workspace.path('elsewhere', linked));
  return '../elsewhere/one-user.mjs';
}

function pluginOf(more: string): string {
  return `
    import { defineVerifier, z } from 'docker-registry-proxy/plugin';
    const own = defineVerifier({ type: 'own', config: z.strictObject({}), open: () => {} });
    export const driver = { ...own, ${more} };
  `;
}

/** @param setting what `open` takes from the settings; they have `name` */
function typed(setting: string): string {
  return `
    import { defineVerifier, type Principal, z } from 'docker-registry-proxy/plugin';
    export const driver = defineVerifier({
      type: 'one',
      config: z.strictObject({ name: z.string() }),
      open: ({ ${setting}: only }, { id }) => ({
        async verify({ shown }): Promise<Principal | undefined> {
          if (shown.kind !== 'password' || shown.username !== only) return undefined;
          return { verifier: id, name: only, kind: 'human', groups: [], attributes: {} };
        },
        close: async () => undefined,
      }),
    });
  `;
}
