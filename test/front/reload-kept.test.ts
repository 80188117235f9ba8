import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type MemoryRegistryOptions, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  basic,
  bearer,
  type Front,
  htpasswd,
  overwrite,
  passwords,
  settingsFor,
  settled,
  startFront,
  takeOver,
} from '../harness/index.js';

// What a reload leaves alone: whatever the new configuration says the same about is the same object afterwards.

const manifest = '/v2/team/app/manifests/1';
/** A change that has nothing to do with anything else here. */
const harmless = { trustedProxies: '[192.0.2.1]' };

async function start(
  t: TestContext,
  settings: Readonly<Record<string, string>> = {},
  options: {
    readonly registry?: MemoryRegistryOptions;
    readonly files?: Readonly<Record<string, string>>;
  } = {},
) {
  const registry = await startMemoryRegistry(options.registry);
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const front = await startFront(t, settingsFor(registry.url, settings), { files: options.files ?? {} });
  const reloadWith = async (more: Readonly<Record<string, string>> = harmless) => {
    await takeOver(front, settingsFor(registry.url, { ...settings, ...more }));
    await settled(front);
  };
  return { registry, front, reloadWith };
}

/** A verifier that knows everybody, and counts in this process how often it is opened, asked and closed. */
function countingVerifier(counter: string): string {
  return `
import { z } from '${import.meta.resolve('zod')}';
const counts = (globalThis['${counter}'] = { opened: 0, asked: 0, closed: 0 });
export const driver = {
  apiVersion: 1, kind: 'verifier', type: 'counting', config: z.strictObject({ note: z.string().optional() }),
  async open(config, { id }) {
    counts.opened++;
    return {
      async verify({ shown }) {
        if (shown.kind !== 'password') return undefined;
        counts.asked++;
        return { verifier: id, name: shown.username, kind: 'human', groups: [], attributes: {} };
      },
      async close() { counts.closed++; },
    };
  },
};
`;
}

async function tokenOf(front: Front): Promise<string> {
  return front.token('alice', ['repository:team/app:pull']);
}

async function pull(front: Front, token: string): Promise<number> {
  return (await front.send(manifest, { headers: { authorization: bearer(token) } })).status;
}

describe('a reload keeps', () => {
  test('connections to an upstream and the tokens it gave us', async (t) => {
    const auth = { kind: 'token', username: 'robot', password: 'x' } as const;
    const { registry, front } = await start(t, {}, { registry: { auth }, files: { password: 'x' } });
    const credentials = 'credentials: { type: static, username: robot, password: { file: password } }';
    const upstreams = `{ one: { url: "${registry.url}", ${credentials} } }`;
    await takeOver(front, settingsFor(registry.url, { upstreams }));
    assert.equal((await front.sendAs('alice', manifest)).status, 200);
    const [asked, ports] = [registry.tokenRequests.length, portsOf(registry.requests)];
    for (const trustedProxies of ['[192.0.2.1]', '[192.0.2.2]', '[192.0.2.3]']) {
      await takeOver(front, settingsFor(registry.url, { upstreams, trustedProxies }));
      assert.equal((await front.sendAs('alice', manifest)).status, 200);
    }
    assert.equal(registry.tokenRequests.length, asked, 'no token was asked for again');
    assert.deepEqual(portsOf(registry.requests), ports, 'no connection was opened again');
  });

  test('verified passwords, until the verifiers change', async (t) => {
    const counter = `counts of ${t.name}`;
    const verifiers = (note: string) =>
      `[{ id: local, type: htpasswd, file: users.htpasswd }, { id: own, module: ./own.mjs, note: ${note} }]`;
    const policy = '[{ names: ["own:*"], repositories: ["**"], actions: [pull] }]';
    const files = { 'own.mjs': countingVerifier(counter) };
    const { front, reloadWith } = await start(t, { verifiers: verifiers('a'), policy }, { files });
    const counts = (
      globalThis as unknown as Record<string, { opened: number; asked: number; closed: number }>
    )[counter];
    const headers = { authorization: basic('zoe', 'anything') };
    const ask = async () => assert.equal((await front.send(manifest, { headers })).status, 200);
    await ask();
    await reloadWith();
    await reloadWith({ routes: '[{ prefix: team/, upstream: one, rewrite: team/ }]' });
    await ask();
    assert.deepEqual(counts, { opened: 1, asked: 1, closed: 0 });
    await reloadWith({ verifiers: verifiers('b') });
    await ask();
    assert.deepEqual(counts, { opened: 2, asked: 2, closed: 1 });
    await front.stop();
    assert.deepEqual(counts, { opened: 2, asked: 2, closed: 2 });
  });

  test('what is known of wrong passwords, also where the users change', async (t) => {
    const { front } = await start(t);
    const guess = async (password: string) =>
      (await front.send('/token', { headers: { authorization: basic('alice', password) } })).status;
    for (let i = 0; i < 10; i++) {
      assert.equal(await guess(`wrong ${i}`), 401);
      const users = { ...passwords, [`user${i}`]: 'x' };
      overwrite(join(front.directory, 'users.htpasswd'), await htpasswd(users), 'renamed');
      await takeOver(front);
    }
    assert.equal(await guess('wrong again'), 429);
    assert.equal(await guess(passwords.alice), 429, 'not even a right one');
    assert.equal((await front.sendAs('bob', '/token')).status, 200);
  });

  test('keys that live as long as the process, until `token` changes', async (t) => {
    const { front, reloadWith } = await start(t);
    const token = await tokenOf(front);
    await reloadWith();
    assert.equal(await pull(front, token), 200);
    await reloadWith({ token: '{ ttl: 10m }' });
    assert.equal(await pull(front, token), 401);
    assert.equal(await pull(front, await tokenOf(front)), 200);
  });

  test('services that have tokens from here come and go without new keys', async (t) => {
    const { front, reloadWith } = await start(t);
    const token = await tokenOf(front);
    await reloadWith({ token: '{ services: [other.test] }' });
    assert.equal(await pull(front, token), 200);
  });

  test('the state: its directory is locked once, and refresh tokens are good', async (t) => {
    const state = '{ type: file, path: state }';
    const { front, reloadWith } = await start(t, { state, token: '{ refreshTokens: true }' });
    const answer = await front.sendAs('alice', '/token?offline_token=true');
    const { refresh_token } = JSON.parse(answer.text) as { refresh_token: string };
    const lock = () => readdirSync(join(front.directory, 'state', 'lock'));
    const held = lock();
    assert.equal(held.length, 1);
    for (const trustedProxies of ['[192.0.2.1]', '[192.0.2.2]']) await reloadWith({ trustedProxies });
    const users = join(front.directory, 'users.htpasswd');
    overwrite(users, `# a comment\n${readFileSync(users, 'utf8')}`);
    await takeOver(front);
    assert.deepEqual(lock(), held);
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token }).toString();
    assert.equal((await front.send('/token', { method: 'POST', body })).status, 200);
    await front.stop();
    assert.ok(
      !readdirSync(join(front.directory, 'state')).includes('lock') || lock().length === 0,
      'unlocked',
    );
  });

  test('requests of one client that are counted: a reload makes no room', async (t) => {
    const limits = '{ requestsPerAddress: 1 }';
    const { registry, front, reloadWith } = await start(t, { limits });
    const remove = registry.faults.add({ path: '/manifests/slow' }, { delay: 60_000 });
    const leaving = new AbortController();
    const slow = front
      .sendAs('alice', '/v2/team/app/manifests/slow', { signal: leaving.signal })
      .catch(() => undefined);
    await registry.waitFor((request) => request.path.endsWith('/slow'));
    await takeOver(front, settingsFor(registry.url, { limits, ...harmless }));
    assert.equal((await front.sendAs('alice', manifest)).status, 429);
    remove();
    leaving.abort();
    await slow;
    await reloadWith({ trustedProxies: '[192.0.2.2]' });
    assert.equal((await front.sendAs('alice', manifest)).status, 200);
  });
});

function portsOf(requests: readonly { readonly remotePort: number | undefined }[]): readonly unknown[] {
  return [...new Set(requests.map(({ remotePort }) => remotePort))];
}
