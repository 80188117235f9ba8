import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DirectoryLock } from '../../src/state-stores/directory-lock.js';
import { createAuthority } from '../../src/testing/certificates.js';
import { FakeLog, startMemoryRegistry } from '../../src/testing/index.js';
import { freePort } from '../e2e/harness/free-port.js';
import { basic, htpasswd, passwords, send, until } from '../harness/index.js';
import { Serving, takenPort } from './serving.js';
import { openHouse, slowVerifier } from './serving-house.js';

// The program as a service manager sees it: its ports, its signals, its exit code.

/** Holds a state directory as another process of the proxy would. */
async function lockState(t: TestContext, directory: string): Promise<void> {
  mkdirSync(directory);
  const lock = await DirectoryLock.take(directory, { clock: Date, log: new FakeLog() });
  t.after(() => lock.release());
}

describe('a start that fails: exit code 2, one line, and no port was ever open', () => {
  interface Fault {
    readonly what: string;
    readonly settings: (t: TestContext, directory: string) => Promise<Readonly<Record<string, string>>>;
    readonly message: RegExp;
  }

  const faults: readonly Fault[] = [
    {
      what: 'the port for operators is taken',
      settings: async (t) => ({ admin: `{ listen: "127.0.0.1:${await takenPort(t)}" }` }),
      message: /: cannot listen on 127\.0\.0\.1:\d+: another program uses this port \(EADDRINUSE\)\n$/,
    },
    {
      what: 'the port that redirects is taken',
      settings: async (t, directory) => {
        const { certificate, privateKey } = await createAuthority();
        writeFileSync(join(directory, 'tls.crt'), certificate);
        writeFileSync(join(directory, 'tls.key'), privateKey);
        const redirectFrom = `"127.0.0.1:${await takenPort(t)}"`;
        return {
          tls: `{ certificate: tls.crt, key: tls.key, redirectFrom: ${redirectFrom} }`,
          externalUrl: 'https://docker.test',
        };
      },
      message: /: cannot listen on 127\.0\.0\.1:\d+: another program uses this port \(EADDRINUSE\)\n$/,
    },
    {
      what: 'a users file with a bad line',
      settings: async (_t, directory) => {
        writeFileSync(join(directory, 'users.htpasswd'), 'alice:secret\n');
        return {};
      },
      message: /: verifiers\[0\]\.file: .*: line 1: expected a bcrypt hash/,
    },
    {
      what: 'a key that is none',
      settings: async (_t, directory) => {
        writeFileSync(join(directory, 'key.pem'), 'hunter2');
        return { token: '{ keys: { files: [key.pem] } }' };
      },
      message: /: token\.keys\.files\[0\]: cannot use the token key key\.pem: /,
    },
    {
      what: 'a state that another process holds',
      settings: async (t, directory) => {
        await lockState(t, join(directory, 'state'));
        return { state: '{ type: file, path: state }' };
      },
      message: /: state\.path: .*state.* in use/,
    },
    {
      what: 'an audit log that cannot be written',
      settings: async () => ({ audit: '{ file: absent/audit.jsonl }' }),
      message: /: audit\.file: absent\/audit\.jsonl cannot be made: there is no directory /,
    },
  ];

  for (const { what, settings, message } of faults) {
    test(what, async (t) => {
      const house = await openHouse(t);
      const port = await freePort();
      const more = await settings(t, house.directory);
      const serving = new Serving(t, house.write({ listen: `127.0.0.1:${port}`, ...more }));
      assert.equal(await serving.everOpened(port), false, 'the front was open');
      assert.equal(await serving.end(), 2);
      assert.match(serving.stderr, message);
      assert.equal(serving.stderr.trim().split('\n').length, 1, serving.stderr);
      assert.doesNotMatch(serving.stderr, /hunter2/);
      assert.ok(!serving.lines().some(({ event }) => event === 'start'), 'it said that it serves');
    });
  }
});

describe('signals', () => {
  const reloaded = ({ message }: Readonly<Record<string, unknown>>) => message === 'configuration reloaded';

  test('SIGHUP takes a changed configuration over, and opens the audit log anew', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    const house = await openHouse(t);
    const settings = { upstreams: `{ one: { url: "${registry.url}" } }`, audit: '{ file: audit.jsonl }' };
    const serving = new Serving(t, house.write(settings));
    const { front } = await serving.ports();
    const login = (password: string) =>
      send(front, '/token', { headers: { authorization: basic('alice', password) } });
    assert.equal((await login(passwords.alice)).status, 200);
    const audit = join(house.directory, 'audit.jsonl');
    await until('it is audited', () => readFileSync(audit, 'utf8') !== '');
    renameSync(audit, `${audit}.1`);
    writeFileSync(join(house.directory, 'users.htpasswd'), await htpasswd({ alice: 'another' }));
    serving.signal('SIGHUP');
    // The watch may have been faster.
    await serving.line((line) => line.event === 'reload' && line.because === 'signal');
    assert.deepEqual((await serving.line(reloaded)).changed, ['verifiers[0].file']);
    assert.equal((await login(passwords.alice)).status, 401);
    assert.equal((await login('another')).status, 200);
    await until('the new file has both', () => readFileSync(audit, 'utf8').split('\n').length === 3);
    serving.signal('SIGTERM');
    assert.equal(await serving.end(), 0);
  });

  test('without one a change is taken over as well', async (t) => {
    const house = await openHouse(t);
    const serving = new Serving(t, house.write({}));
    const { admin } = await serving.ports();
    house.write({ log: '{ level: debug }', listen: '127.0.0.1:1' });
    assert.deepEqual((await serving.line(reloaded)).because, 'file');
    const warning = await serving.line(({ settings }) => settings !== undefined);
    assert.deepEqual(warning.settings, ['listen']);
    house.write({ log: '{ level: error }' });
    const applied = 'registry_proxy_configuration_reloads_total{result="applied"} 2';
    await until('the level is another one', async () =>
      (await send(admin, '/metrics')).text.includes(applied),
    );
    serving.signal('SIGTERM');
    assert.equal(await serving.end(), 0);
    assert.ok(!serving.lines().some(({ event }) => event === 'stop'), 'a line at a level that is off');
  });

  for (const [signal, echo] of [
    ['SIGTERM', 'SIGINT'],
    ['SIGINT', 'SIGTERM'],
  ] as const) {
    test(`${signal} with nothing going on ends it, and its echo changes nothing`, async (t) => {
      const house = await openHouse(t);
      const serving = new Serving(
        t,
        house.write({ drainTimeout: '1h', state: '{ type: file, path: state }' }),
      );
      const { admin } = await serving.ports();
      assert.equal((await send(admin, '/readyz')).status, 200);
      serving.signal(signal);
      serving.signal(echo); // the same one, still pending, would be one with the first
      assert.equal(await serving.end(), 0, serving.stderr);
      assert.deepEqual(
        serving.lines().filter(({ event }) => event === 'stop' || event === 'stopped').length,
        2,
      );
      assert.deepEqual(
        readdirSync(join(house.directory, 'state')).filter((name) => name !== 'lock'),
        [],
      );
    });
  }

  test('a second SIGTERM ends it at once', async (t) => {
    const house = await openHouse(t);
    const serving = new Serving(t, house.write({ drainDelay: '10m' }));
    const { admin, front } = await serving.ports();
    serving.signal('SIGTERM');
    await serving.line(({ event }) => event === 'stop');
    assert.equal((await send(admin, '/readyz')).status, 503);
    assert.equal((await send(front, '/v2/')).status, 401, 'new requests are taken');
    house.write({ limits: '[]' });
    serving.signal('SIGHUP');
    await sleep(1200); // what comes sooner is taken for an echo
    serving.signal('SIGTERM');
    assert.equal(await serving.end(), 1);
    assert.ok(!serving.lines().some(({ event }) => event === 'reload'), 'nobody looks at it any more');
  });

  test('one that comes during the start ends it before it listens', async (t) => {
    const house = await openHouse(t);
    const port = await freePort();
    writeFileSync(join(house.directory, 'slow.mjs'), slowVerifier);
    const verifiers = '[{ id: local, module: ./slow.mjs }]';
    const serving = new Serving(t, house.write({ listen: `127.0.0.1:${port}`, verifiers }));
    await until('it opens the verifier', () => existsSync(join(house.directory, 'opening')));
    serving.signal('SIGHUP'); // would end a process that does not handle it
    serving.signal('SIGTERM');
    const opened = serving.everOpened(port);
    await sleep(1000); // a signal takes its time on a busy machine
    writeFileSync(join(house.directory, 'open'), '');
    assert.equal(await serving.end(), 0, serving.stderr);
    assert.equal(await opened, false);
    assert.ok(existsSync(join(house.directory, 'closed')), 'what was opened is closed');
    const told = serving.lines().flatMap(({ event }) => event ?? []);
    assert.deepEqual(told, ['stopped']);
  });
});
