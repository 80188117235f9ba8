import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkOpening, checkWarnings } from '../../src/bin/check.js';
import { Generations } from '../../src/bin/generation.js';
import { loadConfiguration } from '../../src/config/load.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { guestOf, o, startSignIn, startSignInProvider } from './harness/sign-in.js';

// `tokens list` and `tokens revoke` of personal access tokens, and what `check` says of a sign-in.

const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));
const liveOn =
  'Access tokens that were already issued are good until their ttl is over.\n' +
  'A personal access token that was just used is taken until rememberLogins.accepted is over.\n';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const command = ['--import', 'tsx', program, ...args];
    execFile(process.execPath, command, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test('an administrator lists and revokes personal access tokens beside the proxy', async (t) => {
  const provider = await startSignInProvider();
  t.after(() => provider.close());
  const proxy = await startSignIn(t, provider, {
    signIn: 'scopes: [groups, offline_access]',
    others: 'state: { type: file, path: state }\ntoken: { keys: { directory: keys } }',
  });
  const { session, issued } = await proxy.signIn();
  const first = issued ?? assert.fail('no token');
  const second = await proxy.service.createToken(session, { label: 'build machine', life: 86_400_000 }, o);
  const bobs = (await proxy.signIn('bob')).issued ?? assert.fail('no token');
  await proxy.login(first.token);
  const config = ['--config', join(proxy.directory, 'proxy.yaml')];

  const [listed, json] = await Promise.all([
    run('tokens', 'list', ...config),
    run('tokens', 'list', ...config, '--json', '--principal', 'corp:alice'),
  ]);
  assert.deepEqual([listed.code, listed.stderr], [0, '']);
  const [head = '', ...rows] = listed.stdout.trimEnd().split('\n');
  assert.match(head, /^ID {12}TYPE {6}PRINCIPAL {3}SERVICE {2}LABEL {10}CREATED {15}LAST USED {13}EXPIRES$/);
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
  for (const [i, row] of [
    `${first.details.id}  personal  corp:alice  -        First token    ${time}  ${time}  ${time}`,
    `${second.details.id}  personal  corp:alice  -        build machine  ${time}  never                 ${time}`,
    `${bobs.details.id}  personal  corp:bob    -        First token    ${time}  never                 ${time}`,
  ].entries()) {
    assert.match(rows[i] ?? '', new RegExp(`^${row}$`));
  }
  const objects = JSON.parse(json.stdout) as Readonly<Record<string, string>>[];
  const keys = ['id', 'type', 'principal', 'verifier', 'name', 'label', 'created'];
  assert.deepEqual(objects.map(Object.keys), [
    [...keys, 'lastUsed', 'expires'],
    [...keys, 'expires'],
  ]);
  assert.deepEqual([objects[1]?.type, objects[1]?.label], ['personal', 'build machine']);

  assert.deepEqual(await run('tokens', 'revoke', ...config, '--id', second.details.id), {
    ...{ code: 0, stderr: '' },
    stdout: `The personal access token ${second.details.id} of corp:alice was revoked.\n${liveOn}`,
  });
  await assert.rejects(proxy.login(second.token), { code: 'UNAUTHORIZED' });
  assert.equal((await proxy.login(first.token)).granted, true);
  const all = ['tokens', 'revoke', ...config, '--principal', 'corp:alice'];
  assert.deepEqual(await run(...all), {
    ...{ code: 0, stderr: '' },
    stdout: `1 personal access token of corp:alice revoked.\n${liveOn}`,
  });
  await assert.rejects(proxy.login(first.token), { code: 'UNAUTHORIZED' });
  assert.equal((await proxy.login(bobs.token)).record.principal, 'corp:bob');
  await assert.rejects(proxy.service.tokens(session, o), { kind: 'expired' });
  const signedIn = await (await guestOf(proxy)).list('signed-in/', o);
  assert.deepEqual(
    signedIn.map(({ value }) => (JSON.parse(value) as { name: string }).name),
    ['bob'],
    'the refresh token of the provider is kept',
  );
  const [again, unknown] = await Promise.all([
    run(...all),
    run('tokens', 'revoke', ...config, '--id', second.details.id),
  ]);
  assert.equal(again.stdout, `corp:alice has no personal access token: none was revoked.\n${liveOn}`);
  assert.deepEqual(
    [unknown.code, unknown.stderr],
    [2, `--id: no personal access token has the ID ${second.details.id}\n`],
  );
  for (const { token } of [first, second, bobs]) {
    const output = JSON.stringify([listed, json]);
    assert.ok(!output.includes(token.reveal().slice('drp_pat_'.length)), 'a token is shown');
  }
});

test('both kinds of tokens end together', async (t) => {
  const provider = await startSignInProvider();
  t.after(() => provider.close());
  const proxy = await startSignIn(t, provider, {
    signIn: 'scopes: [groups]',
    others: 'state: { type: file, path: state }\ntoken: { refreshTokens: true }',
  });
  const { issued } = await proxy.signIn();
  const state = await guestOf(proxy);
  // As a login with another verifier of that name would have left it.
  const now = proxy.clock.now();
  const record = { verifier: 'corp', name: 'alice', service: 'docker.test', createdAt: now, usedAt: now };
  await state.put(`refresh-token/${'0'.repeat(64)}`, JSON.stringify(record), o);
  const config = ['--config', join(proxy.directory, 'proxy.yaml'), '--principal', 'corp:alice'];
  const listed = await run('tokens', 'list', ...config);
  assert.deepEqual(
    listed.stdout
      .trimEnd()
      .split('\n')
      .map((row) => row.split(/ +/)[1]),
    ['TYPE', 'personal', 'refresh'],
  );
  const revoked = await run('tokens', 'revoke', ...config);
  assert.equal(
    revoked.stdout,
    `1 refresh token and 1 personal access token of corp:alice revoked.\n${liveOn}`,
  );
  await assert.rejects(proxy.login(issued?.token ?? assert.fail('none')), { code: 'UNAUTHORIZED' });
});

const signIn = 'signIn: { verifier: corp, clientId: registry';
const oidc = '{ id: corp, type: oidc, issuer: "http://127.0.0.1:9", audiences: [registry] }';
const kept = 'state: { type: file, path: state }\ntoken: { keys: { directory: keys } }';

for (const [what, settings, told] of [
  ['everything kept', `verifiers: [${oidc}]\n${signIn} }\n${kept}`, []],
  [
    'nothing kept',
    `verifiers: [${oidc}]\n${signIn} }`,
    [
      /: signIn: the state is in memory: personal access tokens end/,
      /: signIn: the signing keys end .* token\.keys$/,
    ],
  ],
  [
    'a verifier nobody can sign in with',
    `verifiers: [{ id: corp, type: anonymous }]\n${signIn} }\n${kept}`,
    'signIn.verifier: people cannot sign in by browser with the verifier corp; name one of type oidc',
  ],
  [
    'a verifier that takes no ID token of the sign-in',
    `verifiers: [${oidc}]\nsignIn: { verifier: corp, clientId: docker }\n${kept}`,
    'signIn.clientId: the verifier corp takes no ID token for docker; add that to its audiences',
  ],
  [
    'an empty client secret',
    `verifiers: [${oidc}]\n${signIn}, clientSecret: { file: empty } }\n${kept}`,
    'signIn.clientSecret: cannot read EMPTY: it is empty',
  ],
] as const) {
  test(`check, with ${what}`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'drp-check-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'proxy.yaml');
    const empty = join(directory, 'empty');
    writeFileSync(empty, '\n');
    writeFileSync(
      file,
      `
externalUrl: https://docker.test
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
policy: []
${settings}
`,
    );
    const loaded = await loadConfiguration(file);
    assert.ok('configuration' in loaded, JSON.stringify(loaded));
    const surroundings = {
      ...{ clock: Date, log: new FakeLog(), metrics: new FakeMetrics() },
      stdout: { write: () => {} },
    };
    const problems = await checkOpening(loaded.configuration, surroundings);
    if (typeof told === 'string') {
      const message = told.replace('EMPTY', empty);
      assert.equal(problems.length, 1, problems.join());
      assert.equal(problems[0]?.replace(/^(.*?):7:\d+: /, '$1: '), `${file}: ${message}`);
      const opening = new Generations(surroundings).open(loaded.configuration);
      return assert.rejects(opening, { name: 'OpeningError', message });
    }
    assert.deepEqual(problems, []);
    const warnings = await checkWarnings(loaded.configuration, surroundings);
    assert.equal(warnings.length, told.length, warnings.join());
    for (const [i, pattern] of told.entries()) assert.match(warnings[i] ?? '', pattern);
  });
}
