import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  assertError,
  basic,
  claimsOf,
  type Front,
  passwords,
  type Scope,
  sharedScope,
  startFront,
} from '../harness/index.js';
import { scryptUsers } from './harness/scrypt-users.js';

const example = join(
  dirname(dirname(dirname(fileURLToPath(import.meta.url)))),
  'examples/webhook/server.mjs',
);
const path = '/token?service=docker.test&scope=repository:tea/app:pull,push';

/** The example as a program of its own. */
async function startExample(scope: Scope, users: string) {
  const directory = mkdtempSync(join(tmpdir(), 'webhook-'));
  scope.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'users.json');
  writeFileSync(file, users);
  let child: ChildProcess;
  let output = '';
  const start = async (port: string): Promise<string> => {
    const env = { ...process.env, WEBHOOK_TOKEN: 'of-the-proxy' };
    const started = spawn(process.execPath, [example, file, port], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    await Promise.race([once(started.stdout, 'data'), once(started, 'close')]);
    const found = /127\.0\.0\.1:(\d+)\n$/.exec(output)?.[1];
    assert.ok(found, output);
    return found;
  };
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
  };
  const port = await start('0');
  scope.after(stop);
  return { url: `http://127.0.0.1:${port}/`, stop, restart: () => start(port), output: () => output };
}

describe('a proxy that asks the example webhook', () => {
  const scope = sharedScope();
  let front: Front;
  let webhook: Awaited<ReturnType<typeof startExample>>;
  before(async () => {
    const more = { carol: { groups: ['tea'], extra: { site: ['north'] } } };
    webhook = await startExample(scope, scryptUsers({ carol: 'c4rol' }, more));
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
rememberLogins: { accepted: 0s, refused: 0s }
verifiers:
  - { id: own, type: webhook, url: "${webhook.url}", token: { file: token }, refusal: not-mine }
  - { id: strict, type: webhook, url: "${webhook.url}", token: { file: token }, usernames: ["strict-*"] }
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { groups: ["own:tea"], attributes: { site: north }, repositories: ["tea/**"], actions: [pull] }
  - { names: ["local:bob"], repositories: ["**"], actions: [pull] }
`,
      { files: { token: 'of-the-proxy\n' } },
    );
  });
  const login = (user: string, password: string) =>
    front.send(path, { headers: { authorization: basic(user, password) } });
  const outcomes = (verifier: string, outcome: string) =>
    front.metric(`registry_proxy_verifications_total{verifier="${verifier}",outcome="${outcome}"}`);

  it('gives a token by the groups and attributes it tells', async () => {
    const answer = await login('carol', 'c4rol');
    assert.equal(answer.status, 200, answer.text);
    const { token } = JSON.parse(answer.text) as { token: string };
    assert.deepEqual(claimsOf(token).access, [{ type: 'repository', name: 'tea/app', actions: ['pull'] }]);
  });

  it('leaves to the next verifier whom it does not know', async () => {
    assert.equal((await login('bob', passwords.bob)).status, 200);
    assertError(await login('carol', 'l00king-glass'), 401, 'UNAUTHORIZED');
  });

  it('asks nobody else where a refusal is final', async () => {
    const asked = await outcomes('local', 'not-mine');
    assertError(await login('strict-carol', 'l00king-glass'), 401, 'UNAUTHORIZED');
    assert.equal(await outcomes('strict', 'refused'), 1);
    assert.equal(await outcomes('local', 'not-mine'), asked);
  });

  it('answers 503 while it is down, and asks nobody else', async () => {
    const accepted = await outcomes('local', 'accepted');
    await webhook.stop();
    assertError(await login('bob', passwords.bob), 503, 'UNAVAILABLE');
    assert.equal(await outcomes('own', 'unavailable'), 1);
    assert.equal(await outcomes('local', 'accepted'), accepted);
    await webhook.restart();
    assert.equal((await login('bob', passwords.bob)).status, 200);
  });

  it('tells nobody a password', () => {
    for (const secret of ['c4rol', 'l00king-glass', passwords.bob, 'of-the-proxy']) {
      assert.ok(!front.log().includes(secret) && !webhook.output().includes(secret), 'in a log');
    }
  });
});
