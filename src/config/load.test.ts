import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import { type Driver, type DriverKind, driverApiVersion } from '../contracts/driver.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { duration } from '../settings/duration.js';
import { FilePath, ownDirectory, readableFile } from '../settings/file-path.js';
import { secretSource } from '../settings/secret-source.js';
import { loadConfiguration } from './load.js';
import { formatProblem } from './problem.js';

function fake<K extends DriverKind>(kind: K, type: string, config: z.ZodType) {
  const driver: Driver<K> = {
    apiVersion: driverApiVersion,
    kind,
    type,
    config,
    open: () => Promise.reject(new Error('a check opens nothing')),
  };
  return async () => ({ driver });
}

const none = z.strictObject({});
const rule = z.strictObject({
  names: z.array(z.string()).optional(),
  groups: z.array(z.string()).optional(),
  repositories: z.union([z.array(z.string()), z.string()]),
  services: z.array(z.string()).optional(),
});
const drivers: DriverMap = {
  verifier: {
    anonymous: fake('verifier', 'anonymous', none),
    htpasswd: fake('verifier', 'htpasswd', z.strictObject({ file: readableFile() })),
    lists: fake(
      'verifier',
      'lists',
      z.strictObject({
        some: z.array(z.string()).min(1),
        text: z.string().min(2).optional(),
        count: z.number().max(7).optional(),
      }),
    ),
    ldap: fake(
      'verifier',
      'ldap',
      z.strictObject({
        url: z.string(),
        bind: z.strictObject({ password: secretSource() }).optional(),
        login: z
          .union(
            [
              z.strictObject({ user: z.string(), secret: secretSource() }),
              z.strictObject({ token: secretSource() }),
            ],
            { error: 'expected { user: NAME, secret: … } or { token: … }' },
          )
          .optional(),
      }),
    ),
  },
  'credential-source': {
    anonymous: fake('credential-source', 'anonymous', none),
    static: fake(
      'credential-source',
      'static',
      z.strictObject({ username: z.string(), password: secretSource() }),
    ),
  },
  policy: { rules: fake('policy', 'rules', z.array(rule)) },
  'token-issuer': {
    jwt: fake('token-issuer', 'jwt', z.strictObject({ ttl: duration({ min: '60s' }).prefault('5m') })),
  },
  upstream: { registry: fake('upstream', 'registry', z.strictObject({ url: z.string() })) },
  runtime: {},
  'blob-store': {
    disk: fake('blob-store', 'disk', z.strictObject({ path: ownDirectory(), maxSize: z.string() })),
  },
  'state-store': {
    memory: fake('state-store', 'memory', none),
    file: fake('state-store', 'file', z.strictObject({ path: ownDirectory() })),
  },
};

const good = `
listen: 0.0.0.0:5000
externalUrl: https://docker.example.com
upstreams:
  gcr: { url: https://gcr.io, credentials: { type: static, username: u, password: { env: GCR } } }
  hub: { type: registry, url: https://registry-1.docker.io }
routes:
  - { prefix: "", upstream: gcr, rewrite: my-gcp-project/ }
  - { host: Hub.Example.com:8443, prefix: hub/, upstream: hub, ns: docker.io }
verifiers:
  - { id: local, type: htpasswd, file: users }
  - { id: corp, type: ldap, url: "ldaps://x", bind: { password: { file: users } } }
policy:
  - { names: ["local:alice"], groups: ["corp:dev"], repositories: ["**"] }
`;

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'configuration-'));
  await writeFile(join(directory, 'users'), 'x');
  await mkdir(join(directory, 'folder'));
});
after(() => rm(directory, { recursive: true }));

type As = <T>(action: () => Promise<T>) => Promise<T>;

async function load(
  text: string | Uint8Array,
  environment: NodeJS.ProcessEnv = { GCR: 'x' },
  as: As = (action) => action(),
) {
  const file = join(directory, 'proxy.yaml');
  await writeFile(file, text);
  return as(() => loadConfiguration(file, drivers, environment));
}

/** All problems, without the file's directory. */
async function problems(
  text: string | Uint8Array,
  environment?: NodeJS.ProcessEnv,
  as?: As,
): Promise<string[]> {
  const result = await load(text, environment, as);
  assert('problems' in result, 'expected problems');
  return result.problems.map((problem) => formatProblem({ ...problem, file: 'f' }));
}

async function configurationOf(text: string) {
  const result = await load(text);
  assert('configuration' in result, JSON.stringify(result));
  return result.configuration;
}

describe('a good configuration', () => {
  it('is parsed, with defaults', async () => {
    const configuration = await configurationOf(good);
    assert.equal(configuration.file, join(directory, 'proxy.yaml'));
    assert.equal(configuration.baseDirectory, directory);
    assert.deepEqual(configuration.listen, { host: '0.0.0.0', port: 5000 });
    assert.equal(configuration.externalUrl.href, 'https://docker.example.com/');
    assert.deepEqual(configuration.routes, [
      { prefix: '', upstream: 'gcr', rewrite: 'my-gcp-project/', ns: [] },
      { host: 'hub.example.com:8443', prefix: 'hub/', upstream: 'hub', rewrite: '', ns: ['docker.io'] },
    ]);
    assert.deepEqual([...configuration.upstreams.keys()], ['gcr', 'hub']);
    const gcr = configuration.upstreams.get('gcr');
    assert.deepEqual(gcr?.upstream.config, { url: 'https://gcr.io' });
    assert.equal(gcr?.credentials[0]?.source.driver.type, 'static');
    assert.deepEqual(gcr?.credentials[0]?.source.config, { username: 'u', password: { env: 'GCR' } });
    assert.equal(configuration.upstreams.get('hub')?.credentials[0]?.source.driver.type, 'anonymous');
    assert.deepEqual(configuration.verifiers[0]?.driver.config, { file: new FilePath('users', 'file') });
    assert.equal(configuration.policy.driver.type, 'rules');
    assert.deepEqual(configuration.token.issuer.config, { ttl: 300_000 });
    assert.equal(configuration.token.refreshTokens, undefined);
    assert.equal(configuration.state.driver.type, 'memory');
    assert.deepEqual(configuration.log, { level: 'info' });
    assert.equal(configuration.drainTimeout, 30_000);
    assert.equal('tls' in configuration || 'admin' in configuration, false);
  });

  const day = 86_400_000;
  for (const [text, expected] of [
    ['false', undefined],
    ['true', { idle: 30 * day, absolute: 90 * day }],
    ['{}', { idle: 30 * day, absolute: 90 * day }],
    ['{ idle: 1d }', { idle: day, absolute: 90 * day }],
  ] as const) {
    it(`refreshTokens: ${text}`, async () => {
      const { token } = await configurationOf(`${good}token: { refreshTokens: ${text}, services: [R.io] }\n`);
      assert.deepEqual(token.refreshTokens, expected);
      assert.deepEqual(token.services, ['r.io']);
    });
  }

  it('may share parts through anchors', async () => {
    const shared = good
      .replace('{ type: static, username: u, password: { env: GCR } }', '&c { type: anonymous }')
      .replace('url: https://registry-1.docker.io', 'url: https://x, credentials: *c');
    assert.equal(
      (await configurationOf(shared)).upstreams.get('hub')?.credentials[0]?.source.driver.type,
      'anonymous',
    );
  });

  it('may load a driver from a file', async () => {
    await writeFile(
      join(directory, 'mine.mjs'),
      `export const driver = { apiVersion: 1, kind: 'verifier', type: 'mine', open() {}, config: {
         _zod: {}, safeParseAsync: async (value) => ({ success: true, data: value }) } };`,
    );
    const text = good.replace('type: htpasswd, file: users', 'module: ./mine.mjs, any: 1');
    const driver = (await configurationOf(text)).verifiers[0]?.driver;
    assert.equal(driver?.driver.type, 'mine');
    assert.deepEqual(driver?.config, { any: 1 });
  });
});

/** `good` with one text replaced by another, the problem that makes, and the text it points at. */
const single: readonly (readonly [
  name: string,
  from: string,
  to: string,
  problem: string | RegExp,
  at: string,
])[] = [
  [
    'unknown key at the top',
    'listen: 0',
    'listne: 1\nlisten: 0',
    "listne: unknown key, did you mean 'listen'?",
    'listne',
  ],
  [
    'unknown key of a driver',
    'file: users }\n',
    'file: users, fiel: x }\n',
    "verifiers[0].fiel: unknown key, did you mean 'file'?",
    'fiel: x',
  ],
  [
    'unknown inner key',
    'bind: { password',
    'bind: { pasword: 1, password',
    "verifiers[1].bind.pasword: unknown key, did you mean 'password'?",
    'pasword: 1',
  ],
  [
    'unknown key like nothing',
    'prefix: hub/',
    'prefix: hub/, zzzzzz: 1',
    'routes[1].zzzzzz: unknown key; known: host, prefix, upstream, rewrite, cache, ns',
    'zzzzzz: 1',
  ],
  [
    'core key misspelt beside a driver',
    'gcr.io, credentials',
    'gcr.io, credentails',
    "upstreams.gcr.credentails: unknown key, did you mean 'credentials'?",
    'credentails',
  ],
  [
    'missing key',
    'externalUrl: https://docker.example.com\n',
    '',
    /^externalUrl: is missing; expected /,
    'listen',
  ],
  [
    'missing inner key',
    ', file: users }',
    ' }',
    'verifiers[0].file: is missing; expected a file name',
    '{ id: local',
  ],
  [
    'missing key of an entry',
    'hub: { type: registry, url: https://registry-1.docker.io }',
    'hub: {}',
    'upstreams.hub.url: is missing; expected a string',
    'hub: {}',
  ],
  [
    'missing type',
    'type: htpasswd, ',
    '',
    'verifiers[0].type: is missing; expected one of anonymous, htpasswd, lists, ldap',
    '{ id: local',
  ],
  [
    'wrong type',
    'url: https://gcr.io',
    'url: [1]',
    'upstreams.gcr.url: expected a string, not a list',
    '[1]',
  ],
  [
    'number for a string',
    'username: u',
    'username: 7',
    'upstreams.gcr.credentials.username: expected a string, not a number: put it in quotes',
    '7,',
  ],
  ['nothing', 'verifiers:', 'admin:\nverifiers:', 'admin: expected a mapping, not nothing', '\nverifiers'],
  [
    'unknown driver type',
    'type: ldap',
    'type: ldpa',
    "verifiers[1].type: unknown type 'ldpa'; known: anonymous, htpasswd, lists, ldap, did you mean 'ldap'?",
    'ldpa',
  ],
  [
    'a type of Object',
    'type: ldap',
    'type: constructor',
    /^verifiers\[1\]\.type: unknown type 'constructor'/,
    'constructor',
  ],
  [
    'absent module',
    'type: ldap',
    'module: ./no.js',
    /^verifiers\[1\]\.module: module \.\/no\.js does not load/,
    './no.js',
  ],
  [
    'literal secret',
    'password: { env: GCR }',
    'password: hunter2',
    'upstreams.gcr.credentials.password: expected { file: NAME } or { env: NAME }; a secret is never written into the configuration itself',
    'hunter2',
  ],
  [
    'absent variable',
    'env: GCR',
    'env: NO_SUCH',
    'upstreams.gcr.credentials.password.env: the environment has no variable NO_SUCH, or it is empty',
    'NO_SUCH',
  ],
  [
    'absent secret file',
    'password: { file: users',
    'password: { file: nope',
    'verifiers[1].bind.password.file: nope does not exist',
    'nope',
  ],
  [
    'absent file',
    'htpasswd, file: users',
    'htpasswd, file: nope',
    'verifiers[0].file: nope does not exist',
    'nope',
  ],
  [
    'a directory for a file',
    'htpasswd, file: users',
    'htpasswd, file: folder',
    'verifiers[0].file: folder is a directory; expected a file',
    'folder',
  ],
  [
    'unknown upstream',
    'upstream: gcr',
    'upstream: gcx',
    "routes[0].upstream: unknown upstream 'gcx'; known: gcr, hub, did you mean 'gcr'?",
    'gcx',
  ],
  [
    'the same prefix',
    'host: Hub.Example.com:8443, prefix: hub/',
    'prefix: ""',
    'routes[1].prefix: routes[0] has the same prefix for any host',
    '"", upstream: hub',
  ],
  [
    'the same ns',
    'rewrite: my-gcp-project/',
    'ns: [gcr.io, Docker.io]',
    "routes[1].ns: 'docker.io' is also in routes[0].ns",
    'docker.io }',
  ],
  [
    'two sizes for one directory of a cache',
    'rewrite: my-gcp-project/',
    'rewrite: my-gcp-project/, cache: { path: ./c, maxSize: 1GB } }\n  - { prefix: more/, upstream: gcr, cache: { path: c/, maxSize: 2GB }',
    'routes[1].cache.maxSize: routes[0].cache has the same path with maxSize: 1GB',
    '2GB',
  ],
  [
    'a setting of a cache that is not one',
    'rewrite: my-gcp-project/',
    'rewrite: my-gcp-project/, cache: { path: c, maxSize: 1GB, tagFreshnes: 1m }',
    "routes[0].cache.tagFreshnes: unknown key, did you mean 'tagFreshness'?",
    'tagFreshnes',
  ],
  [
    'a store that there is not',
    'rewrite: my-gcp-project/',
    'rewrite: my-gcp-project/, cache: { store: disc, path: c }',
    "routes[0].cache.store: unknown type 'disc'; known: disk, did you mean 'disk'?",
    'disc',
  ],
  [
    'a half component',
    'prefix: hub/',
    'prefix: hub',
    /^routes\[1\]\.prefix: expected "" or repository components/,
    'hub,',
  ],
  [
    'a bad rewrite',
    'my-gcp-project/',
    '../x/',
    /^routes\[0\]\.rewrite: expected "" or repository components/,
    '../x/',
  ],
  [
    'an absent prefix',
    'prefix: "", ',
    '',
    /^routes\[0\]\.prefix: is missing; expected ""/,
    '{ upstream: gcr',
  ],
  [
    'a URL in ns',
    'ns: docker.io',
    'ns: https://docker.io',
    /^routes\[1\]\.ns: expected a host such as docker.io/,
    'https://docker.io',
  ],
  [
    'the same id',
    'id: corp',
    'id: local',
    "verifiers[1].id: 'local' is also the id of verifiers[0]",
    'local, type: ldap',
  ],
  ['a bad upstream name', '  hub:', '  Hub:', /^upstreams\.Hub: expected a name of lower-case/, 'Hub:'],
  [
    'a URL with a path',
    '.example.com\n',
    '.example.com/x\n',
    /^externalUrl: expected a URL such as/,
    'https://docker.example.com/x',
  ],
  [
    'an unknown merged verifier',
    'policy:',
    'mergedVerifiers: [corb]\npolicy:',
    "mergedVerifiers[0]: unknown verifier 'corb'; known: local, corp, did you mean 'corp'?",
    'corb',
  ],
  [
    'a rule with an unknown verifier',
    'corp:dev',
    'crop:dev',
    "policy[0].groups[0]: unknown verifier 'crop'; known: local, corp, did you mean 'corp'?",
    '"crop:dev"',
  ],
  [
    'a bare name',
    'local:alice',
    'alice',
    "policy[0].names[0]: 'alice' names no verifier; expected 'local:alice'",
    '"alice"',
  ],
  [
    'a bad duration',
    'policy:',
    'drainTimeout: 2h\npolicy:',
    /^drainTimeout: expected a duration .*at most 1h/,
    '2h',
  ],
  [
    'idle over absolute',
    'policy:',
    'token: { refreshTokens: { idle: 91d } }\npolicy:',
    'token.refreshTokens.idle: expected a time not longer than `absolute`',
    '91d',
  ],
  [
    'neither true nor a mapping',
    'policy:',
    'token: { refreshTokens: 30d }\npolicy:',
    'token.refreshTokens: expected true, or { idle: 30d, absolute: 90d }',
    '30d }',
  ],
  [
    'a misspelt key in one of two shapes',
    'policy:',
    'token: { refreshTokens: { idel: 1d } }\npolicy:',
    "token.refreshTokens.idel: unknown key, did you mean 'idle'?",
    'idel',
  ],
  [
    'a secret as a key',
    'password: { env: GCR }',
    'password: { hunter2 }',
    'upstreams.gcr.credentials.password: expected { file: NAME } or { env: NAME }; a secret is never written into the configuration itself',
    '{ hunter2 }',
  ],
  [
    'a missing key in one of two shapes',
    '"ldaps://x", bind',
    '"ldaps://x", login: { user: a }, bind',
    'verifiers[1].login.secret: is missing; expected { file: NAME } or { env: NAME }; a secret is never written into the configuration itself',
    'login: ',
  ],
  [
    'neither of two shapes',
    '"ldaps://x", bind',
    '"ldaps://x", login: {}, bind',
    'verifiers[1].login: expected { user: NAME, secret: … } or { token: … }',
    '{}, bind',
  ],
  [
    'a list or a string',
    'repositories: ["**"]',
    'repositories: { a: 1 }',
    'policy[0].repositories: expected a list or a string',
    '{ a: 1 }',
  ],
  [
    'the shape of another type, without a type',
    'hub: { type: registry, url: https://registry-1.docker.io }',
    'hub: { url: https://x, credentials: { password: { env: GCR } } }',
    'upstreams.hub.credentials.password: unknown key here; it belongs to `type: static`',
    'password: { env: GCR } }',
  ],
  [
    'a key of another type',
    'corp, type: ldap, url: "ldaps://x", bind: { password: { file: users } }',
    'corp, type: htpasswd, file: users, login: 1',
    'verifiers[1].login: unknown key here; it belongs to `type: ldap`',
    'login: 1',
  ],
  [
    'keys of two shapes',
    '"ldaps://x", bind',
    '"ldaps://x", login: { user: a, secret: { env: GCR }, token: { env: GCR } }, bind',
    "verifiers[1].login.token: cannot stand beside 'user' and 'secret'",
    'token: { env',
  ],
  [
    'a list of nothing',
    'type: htpasswd, file: users',
    'type: lists, some: []',
    'verifiers[0].some: expected at least 1 entry',
    '[]',
  ],
  [
    'an empty text',
    'type: htpasswd, file: users',
    'type: lists, some: [x], text: ""',
    'verifiers[0].text: expected at least 2 characters',
    '""',
  ],
  [
    'a number too high',
    'type: htpasswd, file: users',
    'type: lists, some: [x], count: 8',
    'verifiers[0].count: expected at most 7',
    '8',
  ],
  [
    'a bad verifier id',
    'id: local',
    'id: lo cal',
    /^verifiers\[0\]\.id: expected a name of lower-case letters/,
    'lo cal',
  ],
  [
    'TLS at an external URL without',
    'externalUrl: https://docker.example.com\n',
    'externalUrl: http://docker.example.com\ntls: 1\n',
    'externalUrl: expected https://, because `tls` serves HTTPS',
    'http://',
  ],
  [
    'the admin port on the same address',
    'policy:',
    'admin: { listen: "0.0.0.0:5000" }\npolicy:',
    'admin.listen: expected another port than that of `listen`, which is 0.0.0.0:5000',
    '"0.0.0.0:5000"',
  ],
  [
    'the admin port on one of the addresses',
    'policy:',
    'admin: { listen: "127.0.0.1:5000" }\npolicy:',
    'admin.listen: expected another port than that of `listen`, which is 0.0.0.0:5000',
    '"127.0.0.1:5000"',
  ],
  [
    'a rule for a host that is not served',
    'repositories: ["**"]',
    'repositories: ["**"], services: [docker.example.com, "hub.example.com:8443", docker.exampel.com]',
    /^policy\[0\]\.services\[2\]: no host that is served or in token\.services; known: .*did you mean 'docker.example.com'\?$/,
    'docker.exampel',
  ],
  [
    'a repository with the host',
    'repositories: ["**"]',
    'repositories: [docker.example.com/hello]',
    "policy[0].repositories[0]: expected the repository without the host: 'hello'",
    'docker.example.com/hello',
  ],
  [
    'a port that is none',
    'Hub.Example.com:8443',
    'hub.example.com:99999',
    /^routes\[1\]\.host: expected a host such as/,
    'hub.example',
  ],
  [
    'a bad level',
    'policy:',
    'log: { level: all }\npolicy:',
    'log.level: expected one of debug, info, warn, error',
    'all',
  ],
];

describe('one problem', () => {
  for (const [name, from, to, expected, at] of single) {
    it(name, async () => {
      assert(good.includes(from), `${from} is not in the good configuration`);
      const text = good.replace(from, to);
      const result = await load(text);
      const found = 'problems' in result ? result.problems : [];
      const [problem] = found.filter((one) => matches(`${one.path}: ${one.message}`, expected));
      assert(problem, found.map(formatProblem).join('\n'));
      const rest = text
        .split('\n')
        .slice(problem.line - 1)
        .join('\n')
        .slice(problem.column - 1);
      assert.equal(rest.slice(0, at.length), at);
      assert(found.length <= 1 + (consequences[name] ?? 0), found.map(formatProblem).join('\n'));
    });
  }
});

const matches = (text: string, expected: string | RegExp) =>
  typeof expected === 'string' ? text === expected : expected.test(text);

/** A renamed thing is also missing where something else refers to it. */
const consequences: Readonly<Record<string, number>> = {
  'the same id': 1,
  'TLS at an external URL without': 1,
};

describe('the file itself', () => {
  const cases: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
    ['empty', '', /^f:1:1: the file is empty$/],
    ['comments only', '# nothing yet\n', /^f:1:1: the file is empty$/],
    ['a lone null', '~\n', /^f:1:1: expected a mapping, not nothing$/],
    ['a list', '- 1', /^f:1:1: expected a mapping, not a list$/],
    ['syntax', 'listen: [1\nsecret: hunter2', /^f:\d+:\d+: /],
    ['a stray text', 'listen: "a" hunter2\n', /^f:1:\d+: /],
    ['a key twice', `${good}listen: :1\n`, /^f:15:1: .*unique/],
    ['an alias of nothing', 'a: 1\nb: *hunter2\n', /^f:2:4: an alias of no anchor above/],
    ['an alias before its anchor', 'a: *x\nb: &x 1\n', /^f:1:4: an alias of no anchor above/],
    ['an alias of itself', 'a: &x [*x]\n', /^f/],
    ['a tag for a secret', 'a: !hunter2 x\n', /^f:1:4: Unresolved tag$/],
    ['no token', 'a: |9x hunter2\n  x\n', /^f:1:6: Block scalar header/],
    ['more problems than anybody reads', `verifiers: [${'1, '.repeat(500)}]`, /^f:1:1: /],
    ['two documents', `${good}---\n${good}`, /^f:15:1: expected one document only$/],
    ['an unknown tag', 'listen: !!js/function x', /^f:1:9: Unresolved tag$/],
    ['__proto__', `${good}__proto__: { listen: x }\n`, /^f:15:1: not a usable key/],
    ['a list as key', `${good}? [a]\n: 1\n`, /^f:15:3: not a usable key/],
    ['too large', `# ${'x'.repeat(1024 * 1024)}`, /^f: cannot be read: larger than 1048576 bytes/],
    ['not UTF-8', Buffer.from([0x61, 0xff]), /^f: cannot be read: /],
    ['an alias bomb', bomb(), /^f: cannot be parsed: Excessive alias count/],
    ['thousands of brackets', '['.repeat(200_000), /^f:?/],
  ];
  for (const [name, text, expected] of cases) {
    it(name, async () => {
      const found = await problems(text);
      assert.match(found[0] ?? '', expected);
      if (expected.source.endsWith('$')) assert.equal(found.length, 1, found.join('\n'));
      assert(found.length <= 100 && !found.join().includes('hunter2'), found.join('\n'));
    });
  }

  it('is not there', async () => {
    const result = await loadConfiguration(join(directory, 'absent.yaml'), drivers);
    assert.ok('problems' in result, "'problems' in result");
    assert.match(result.problems.map(formatProblem).join(), /absent\.yaml: cannot be read: ENOENT/);
  });
});

function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++) lines.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(9)}]`);
  return lines.join('\n');
}

it('reports all problems at once, in the order of the file', async () => {
  const found = await problems(`
listen: 5000
externalUrl: ftp://x
unknown: 1
upstreams:
  gcr: { credentials: { type: static, password: { env: A, file: b } } }
routes:
  - { prefix: a/, upstream: gcx }
  - { prefix: a/, upstream: gcr }
  - { prefix: A/, upstream: gcr }
verifiers:
  - { id: a, type: htpasswd, file: nope }
  - { id: a, type: nosuch }
policy: 1
token: { ttl: 1s }
`);
  assert.deepEqual(
    found.map((text) => text.split(': ', 2).join(': ')),
    [
      'f:2:9: listen',
      'f:3:14: externalUrl',
      'f:4:1: unknown',
      'f:6:3: upstreams.gcr.url',
      'f:6:10: upstreams.gcr.credentials.username',
      'f:6:49: upstreams.gcr.credentials.password',
      'f:8:29: routes[0].upstream',
      'f:9:15: routes[1].prefix',
      'f:10:15: routes[2].prefix',
      'f:12:36: verifiers[0].file',
      'f:13:11: verifiers[1].id',
      'f:13:20: verifiers[1].type',
      'f:14:9: policy',
      'f:15:15: token.ttl',
    ],
  );
});

it('wants a route or a service to issue tokens for', async () => {
  const without = good.replace(/routes:\n.*\n.*\n/, '');
  assert.match((await problems(without)).join(), /routes: expected at least one route/);
  assert.deepEqual((await configurationOf(`${without}token: { services: [r.io] }\n`)).routes, []);
});

it('takes bare names in rules where verifiers are merged', async () => {
  const text = `${good.replace('local:alice', 'alice')}mergedVerifiers: [local]\n`;
  assert.deepEqual((await configurationOf(text)).mergedVerifiers, ['local']);
});

describe('listening twice', () => {
  for (const [name, listen, admin, count] of [
    ['another port', ':5000', ':5001', 0],
    ['free ports', ':0', ':0', 0],
    ['two addresses', '127.0.0.1:5000', '127.0.0.2:5000', 0],
    ['both families', '[::1]:5000', '0.0.0.0:5000', 0],
    ['every address', '[::1]:5000', ':5000', 1],
    ['every address first', ':5000', '127.0.0.1:5000', 1],
  ] as const) {
    it(name, async () => {
      const text = `${good.replace('0.0.0.0:5000', `"${listen}"`)}admin: { listen: "${admin}" }\n`;
      const result = await load(text);
      assert.equal('problems' in result ? result.problems.length : 0, count);
    });
  }
});

describe('what is written', () => {
  for (const [name, more, expected] of [
    ['an audit log where it can be', 'audit: { file: audit.jsonl }', []],
    ['standard output', 'audit: {}', []],
    [
      'an audit log without its directory',
      'audit: { file: absent/audit.jsonl }',
      ['audit.file: absent/audit.jsonl cannot be made: there is no directory '],
    ],
    [
      'an audit log in place of a directory',
      'audit: { file: . }',
      ['audit.file: . is a directory; expected a file'],
    ],
    ['directories that can be made', 'state: { type: file, path: a/b/c }', []],
    [
      'a directory below a file',
      'state: { type: file, path: users/state }',
      ['state.path: users/state cannot be used: ENOTDIR'],
    ],
    [
      'a file in place of a directory',
      'state: { type: file, path: users }',
      ['state.path: users is not a directory'],
    ],
  ] as const) {
    it(name, async () => {
      const result = await load(`${good}${more}\n`);
      const found = 'problems' in result ? result.problems : [];
      assert.equal(found.length, expected.length, JSON.stringify(found));
      for (const [i, text] of expected.entries()) {
        const { path = '', message = '' } = found[i] ?? {};
        assert.ok(`${path}: ${message}`.startsWith(text), `${path}: ${message}`);
      }
    });
  }

  it('may be read-only where nothing has to be made', async () => {
    await mkdir(join(directory, 'sealed'), { mode: 0o555 });
    await chmod(directory, 0o555);
    try {
      const text = `${good}state: { type: file, path: sealed }\n`;
      assert.ok('configuration' in (await load(text, undefined, asNobody)), 'it is refused');
    } finally {
      await chmod(directory, 0o755);
    }
  });
});

it('does not redirect from where something else listens', async () => {
  const tls = (from: string) => `tls: { certificate: a, key: b, redirectFrom: "${from}" }\n`;
  const about = async (text: string) => {
    const result = await load(text);
    const all = 'problems' in result ? result.problems : [];
    return all.filter(({ path }) => path === 'tls.redirectFrom').map(({ message }) => message);
  };
  const admin = 'admin: { listen: "127.0.0.1:9090" }\n';
  assert.deepEqual(await about(`${good}${tls('0.0.0.0:80')}${admin}`), []);
  assert.deepEqual(await about(`${good}${tls('127.0.0.1:5000')}${admin}`), [
    'expected another port than that of `listen`, which is 0.0.0.0:5000',
  ]);
  assert.deepEqual(await about(`${good}${tls(':9090')}${admin}`), [
    'expected another port than that of `admin.listen`, which is 127.0.0.1:9090',
  ]);
});

describe('rules for places that there are', () => {
  for (const [name, text] of [
    [
      'a registry of token.services',
      `${good.replace('["**"]', '["**"], services: [r.io]')}token: { services: [R.io] }\n`,
    ],
    ['a pattern that only resembles a host', good.replace('["**"]', '[docker.example.com-x/y]')],
    [
      'a route whose prefix is a host',
      good
        .replace('prefix: ""', 'prefix: docker.example.com/')
        .replace('["**"]', '[docker.example.com/hello]'),
    ],
  ] as const) {
    it(name, async () => void (await configurationOf(text)));
  }
});

it('refuses a file that this user may not read', async () => {
  await writeFile(join(directory, 'closed'), 'x');
  await chmod(join(directory, 'closed'), 0);
  await chmod(directory, 0o755);
  const text = good.replace('htpasswd, file: users', 'htpasswd, file: closed');
  const found = await problems(text, undefined, asNobody);
  assert.deepEqual(found, ['f:11:40: verifiers[0].file: closed may not be read by this user']);
});

/** Root may read everything; nobody may not. */
async function asNobody<T>(action: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return action();
  process.seteuid?.(65_534);
  try {
    return await action();
  } finally {
    process.seteuid?.(0);
  }
}
