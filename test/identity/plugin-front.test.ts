import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  assertError,
  basic,
  claimsOf,
  type Front,
  passwords,
  sharedScope,
  startFront,
} from '../harness/index.js';

const path = '/token?service=docker.test&scope=repository:app:pull,push';

/** A driver as plain JavaScript may be: its configuration's schema takes anything. */
const plugin = `
const config = { _zod: {}, safeParseAsync: async (data) => ({ success: true, data }), safeParse: (data) => ({ success: true, data }) };
const plain = { kind: 'human', groups: [], attributes: {} };
const answers = {
  impostor: { ...plain, verifier: 'local', name: 'alice', groups: ['admins'] },
  groupless: { ...plain, name: 'groupless', groups: 'admins' },
  nobody: null,
};
export const driver = {
  apiVersion: 1, kind: 'verifier', type: 'odd', config,
  open: async () => ({
    async verify({ shown }) {
      if (shown.username === 'bug') throw new TypeError('shown.user is undefined');
      if (shown.username === 'foreign') throw Object.assign(new Error('x'), { name: 'RegistryError', code: 'UNAUTHORIZED' });
      return answers[shown.username];
    },
    close: async () => {},
  }),
};
`;

describe('a proxy with a plugin that is wrong', () => {
  const scope = sharedScope();
  let front: Front;
  before(async () => {
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
  - { id: odd, module: ./odd.mjs }
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { names: ["local:alice"], groups: ["local:admins"], repositories: ["**"], actions: [pull, push] }
  - { names: ["odd:alice"], repositories: ["**"], actions: [pull] }
`,
      { files: { 'odd.mjs': plugin } },
    );
  });
  const login = (user: string) =>
    front.send(path, { headers: { authorization: basic(user, passwords.alice) } });

  it('cannot be made to vouch for another verifier’s users', async () => {
    const answer = await login('impostor');
    assert.equal(answer.status, 200, answer.text);
    const { access, sub } = claimsOf((JSON.parse(answer.text) as { token: string }).token);
    assert.deepEqual([sub, access], ['odd:alice', [{ type: 'repository', name: 'app', actions: ['pull'] }]]);
  });

  for (const [user, status, code] of [
    ['groupless', 503, 'UNAVAILABLE'],
    ['nobody', 503, 'UNAVAILABLE'],
    ['bug', 500, 'UNKNOWN'],
    ['foreign', 401, 'UNAUTHORIZED'],
  ] as const) {
    it(`answers ${user} with ${status}, and asks nobody else`, async () => {
      assertError(await login(user), status, code);
      assert.equal(
        await front.metric('registry_proxy_verifications_total{verifier="local",outcome="not-mine"}'),
        0,
      );
    });
  }

  it('goes on with those it leaves to others', async () => {
    assert.equal((await login('alice')).status, 200);
    assert.equal(
      await front.metric('registry_proxy_verifications_total{verifier="local",outcome="accepted"}'),
      1,
    );
  });
});
