import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

// The program as scripts see it: what it prints, and its exit code.

const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'drp-cli-'));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', program, ...args],
      { timeout: 60_000 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

function write(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

/** alice's password is `secret`. */
write('users.htpasswd', 'alice:$2b$04$ON0UjFhJmL3k7Lp8cahzV.epVRx5p1DRlg.6Az4kxB0wkm.JrM36y\n');

const good = `
listen: 127.0.0.1:0
externalUrl: https://docker.example.com
upstreams:
  hub: { url: https://docker.io }
  mine: { url: https://registry.example.org }
routes:
  - { prefix: hub/, upstream: hub }
  - { prefix: "", upstream: mine, rewrite: project/ }
verifiers: [{ id: local, type: htpasswd, file: users.htpasswd }]
policy:
  - { names: ["local:alice"], repositories: ["hub/**"], actions: [pull] }
  - { groups: ["local:release"], repositories: ["apps/**"], actions: [pull, push] }
  - { names: ["local:*"], repositories: ["**"], actions: [push, pull], services: [registry.example.com] }
token: { services: [registry.example.com] }
`;
/** `htpasswd` gives none, which `check` warns of. */
const withoutGroups = good.replace('groups:', 'names:');
const goodFile = write('good.yaml', good);

const refused: readonly (readonly [string, () => readonly string[], RegExp])[] = [
  ['no command', () => [], /Usage:/],
  ['an unknown command', () => ['sreve'], /unknown command 'sreve'/],
  ['no configuration', () => ['serve'], /required option '--config <file>'/],
  ['an unknown option', () => ['check', '--config', goodFile, '--fast'], /unknown option '--fast'/],
  ['a file that is not there', () => ['serve', '--config', join(directory, 'absent.yaml')], /absent\.yaml/],
  [
    'a principal of no verifier',
    () => ['explain', '--config', goodFile, '--as', 'bob', '--repository', 'a', '--action', 'pull'],
    /--as: expected VERIFIER:NAME/,
  ],
  [
    'an action that is none',
    () => ['explain', '--config', goodFile, '--as', 'local:bob', '--repository', 'a', '--action', 'fetch'],
    /--action: expected pull, push or delete/,
  ],
  [
    'a repository that is none',
    () => [
      'explain',
      '--config',
      goodFile,
      '--as',
      'local:bob',
      '--repository',
      'A/../b',
      '--action',
      'pull',
    ],
    /--repository: expected a repository name in lower case, without host and tag/,
  ],
  [
    'a principal without a name',
    () => ['explain', '--config', goodFile, '--as', 'local:', '--repository', 'a', '--action', 'pull'],
    /--as: expected a name after local:/,
  ],
  [
    'a repository with a tag',
    () => ['explain', '--config', goodFile, '--as', 'local:bob', '--repository', 'a:1', '--action', 'pull'],
    /--repository: expected a repository name in lower case, without host and tag/,
  ],
  [
    'a host that is not served',
    () =>
      'explain --as local:bob --repository a --action pull --host other.example.com --config'
        .split(' ')
        .concat(goodFile),
    /--host: this proxy serves docker\.example\.com, and issues tokens for registry\.example\.com\n/,
  ],
];
for (const [what, args, message] of refused) {
  test(`${what}: exit code 2 and a message without a stack`, async () => {
    const { code, stderr } = await run(...args());
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
}

test('check lists every problem at once, with its place', async () => {
  const bad = good
    .replace('upstream: hub }', 'upstream: hup }')
    .replace('listen:', 'lisen:')
    .replace('[pull]', '[pul]');
  const { code, stdout, stderr } = await run('check', '--config', write('bad.yaml', bad));
  assert.equal(code, 2);
  assert.equal(stdout, '');
  const lines = stderr.trim().split('\n');
  for (const line of lines) assert.match(line, /bad\.yaml:\d+:\d+: /);
  assert.match(stderr, /:2:1: .*lisen/);
  assert.match(stderr, /:8:\d+: routes\[0\]\.upstream: .*hup/);
  assert.match(stderr, /:12:\d+: policy\[0\]\.actions\[0\]: expected pull, push or delete/);
});

test('check warns of user names that most clients cannot send', async () => {
  const limited = withoutGroups.replace(
    'file: users.htpasswd }',
    "file: users.htpasswd, usernames: ['robot-*', 'oidc:*'] }",
  );
  const { code, stderr } = await run('check', '--config', write('colon.yaml', limited));
  assert.equal(code, 0, stderr);
  assert.match(
    stderr,
    /^warning: .*colon\.yaml: verifiers\[0\]\.usernames\[1\]: .*colon in the user name\n$/,
  );
});

test('check warns of a certificate header that nobody is trusted with', async () => {
  const file = write('header.yaml', `${withoutGroups}clientCertificateHeader: x-client-certificate\n`);
  const { code, stderr } = await run('check', '--config', file);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^warning: .*header\.yaml: clientCertificateHeader: .*trustedProxies is empty\n$/);
});

test('check opens what can be opened: a users file with a bad line', async () => {
  write('bad.htpasswd', 'alice:$apr1$abc$def\n');
  const file = write('bad-users.yaml', good.replace('users.htpasswd', 'bad.htpasswd'));
  const { code, stderr } = await run('check', '--config', file);
  assert.equal(code, 2);
  assert.match(
    stderr,
    /bad-users\.yaml:\d+:\d+: verifiers\[0\]\.file: .* bad\.htpasswd: .*line 1: expected a bcrypt hash/,
  );
  assert.doesNotMatch(stderr, /apr1/);
});

test('check opens supplied token keys, and makes none', async () => {
  write('no.key', 'hunter2');
  const keys = (text: string) => good.replace('token: {', `token: { keys: ${text},`);
  const supplied = await run('check', '--config', write('no-key.yaml', keys('{ files: [no.key] }')));
  assert.equal(supplied.code, 2);
  assert.match(
    supplied.stderr,
    /no-key\.yaml:\d+:\d+: token\.keys\.files\[0\]: cannot use the token key no\.key: /,
  );
  assert.doesNotMatch(supplied.stderr, /hunter2/);
  const generated = await run('check', '--config', write('keys.yaml', keys('{ directory: made }')));
  assert.equal(generated.code, 0, generated.stderr);
  assert.ok(!existsSync(join(directory, 'made')), "!existsSync(join(directory, 'made'))");
});

test('check of a good file says so', async () => {
  const { code, stdout } = await run('check', '--config', goodFile);
  assert.deepEqual({ code, stdout }, { code: 0, stdout: `${goodFile}: fine\n` });
});

test('schema prints a JSON Schema', async () => {
  const { code, stdout } = await run('schema');
  assert.equal(code, 0);
  assert.ok(
    Object.hasOwn(JSON.parse(stdout).properties, 'externalUrl'),
    "Object.hasOwn(JSON.parse(stdout).properties, 'externalUrl')",
  );
});

test('explain says which rule decides, and where the request would go', async () => {
  const ask = (...more: readonly string[]) => run('explain', '--config', goodFile, ...more);
  const allowed = await ask('--as', 'local:alice', '--repository', 'hub/alpine', '--action', 'pull');
  assert.equal(allowed.code, 0);
  assert.match(allowed.stdout, /allowed by policy\[0\]/);
  assert.match(allowed.stdout, /hub\/library\/alpine on docker\.example\.com/);
  assert.match(allowed.stdout, /upstream hub \(.*docker\.io\), repository library\/alpine/);
  const byGroup = 'release,other';
  const pushed = await ask(
    '--as',
    'local:bob',
    '--groups',
    byGroup,
    '--repository',
    'apps/x',
    '--action',
    'push',
  );
  assert.equal(pushed.code, 0);
  assert.match(pushed.stdout, /policy\[1\]/);
  assert.match(pushed.stdout, /upstream mine \(registry\.example\.org\), repository project\/apps\/x/);
  const denied = await ask('--as', 'local:bob', '--repository', 'apps/x', '--action', 'push');
  assert.equal(denied.code, 1);
  assert.match(denied.stdout, /denied/);
  for (const { stdout } of [allowed, pushed]) assert.doesNotMatch(stdout, /^(note|rule) /m);
  assert.match(pushed.stdout, /^action {5}push \(which needs pull and push\)$/m);
});

test('explain of a denial shows the rules that name who asks', async () => {
  const denied = await run(
    ...['explain', '--config', goodFile, '--as', 'local:alice', '--repository', 'apps/x', '--action', 'pull'],
  );
  assert.equal(denied.code, 1);
  assert.deepEqual(denied.stdout.match(/^rule .*$/gm), [
    'rule       policy[0] allows pull of hub/**',
    'rule       policy[2] allows push, pull of ** on registry.example.com',
  ]);
});

test('explain knows the registries that have their tokens from here', async () => {
  const { code, stdout } = await run(
    ...['explain', '--config', goodFile, '--as', 'local:bob', '--repository', 'hub/x', '--action', 'push'],
    ...['--host', 'Registry.example.com'],
  );
  assert.equal(code, 0);
  assert.match(stdout, /^decision +allowed by policy\[2\]$/m);
  assert.match(stdout, /^repository hub\/x on registry\.example\.com$/m);
  assert.match(stdout, /^sent to +at registry\.example\.com itself$/m);
});

test('a port that is taken: one line, exit code 2', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const file = write('taken.yaml', good.replace('127.0.0.1:0', `127.0.0.1:${port}`));
  const { code, stderr } = await run('serve', '--config', file);
  server.close();
  assert.equal(code, 2);
  assert.equal(
    stderr,
    `${file}: cannot listen on 127.0.0.1:${port}: another program uses this port (EADDRINUSE)\n`,
  );
});
