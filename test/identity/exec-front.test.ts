import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  assertError,
  basic,
  claimsOf,
  type Front,
  passwords,
  sharedScope,
  startFront,
} from '../harness/index.js';
import { scryptUsers } from './harness/scrypt-users.js';

const example = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'examples/exec/verify.mjs');
const path = '/token?service=docker.test&scope=repository:tea/app:pull,push';

describe('a proxy that asks the example program', () => {
  const scope = sharedScope();
  let front: Front;
  before(async () => {
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
rememberLogins: { accepted: 0s, refused: 0s }
verifiers:
  - { id: own, type: exec, command: ["${example}", users.json] }
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { groups: ["own:tea"], repositories: ["tea/**"], actions: [pull] }
  - { names: ["local:bob"], repositories: ["**"], actions: [pull] }
`,
      { files: { 'users.json': scryptUsers({ carol: 'c4rol' }, { carol: { groups: ['tea'] } }) } },
    );
  });
  const login = (user: string, password: string) =>
    front.send(path, { headers: { authorization: basic(user, password) } });
  const outcomes = (verifier: string, outcome: string) =>
    front.metric(`registry_proxy_verifications_total{verifier="${verifier}",outcome="${outcome}"}`);

  it('gives a token by the groups it tells', async () => {
    const answer = await login('carol', 'c4rol');
    assert.equal(answer.status, 200, answer.text);
    const { token } = JSON.parse(answer.text) as { token: string };
    assert.deepEqual(claimsOf(token).access, [{ type: 'repository', name: 'tea/app', actions: ['pull'] }]);
  });

  it('leaves to the next verifier who is not its own, and nobody whom it refuses', async () => {
    assert.equal((await login('bob', passwords.bob)).status, 200);
    const asked = await outcomes('local', 'not-mine');
    assertError(await login('carol', passwords.bob), 401, 'UNAUTHORIZED');
    assert.equal(await outcomes('local', 'not-mine'), asked);
    await front.logLine(
      (line) => line.verifier === 'own' && String(line.reason).endsWith(': refused: wrong password'),
    );
  });

  it('answers 503 while the program fails, and asks nobody else', async () => {
    const users = join(front.directory, 'users.json');
    renameSync(users, `${users}.gone`);
    const before = await outcomes('local', 'accepted');
    assertError(await login('bob', passwords.bob), 503, 'UNAVAILABLE');
    assert.equal(await outcomes('own', 'unavailable'), 1);
    assert.equal(await outcomes('local', 'accepted'), before);
    await front.logLine(
      (line) => line.verifier === 'own' && String(line.reason).includes(': it ended with 1'),
    );
    renameSync(`${users}.gone`, users);
    assert.equal((await login('bob', passwords.bob)).status, 200);
  });

  it('tells nobody a password', () => {
    for (const secret of ['c4rol', passwords.bob]) assert.ok(!front.log().includes(secret), 'in the log');
  });
});
