import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Verifier } from '../../src/contracts/index.js';
import type { RegistryError } from '../../src/errors.js';
import { createAuthority } from '../../src/testing/certificates.js';
import { failureOf, options } from '../../src/testing/conformance/suite.js';
import { passwordCredentials } from '../../src/testing/conformance/verifier.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import type { FakeLog } from '../../src/testing/fake-log.js';
import { driver } from '../../src/verifiers/ldap.js';
import { freePort } from '../e2e/harness/free-port.js';
import { waitFor } from '../e2e/harness/wait-for.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { refusedBy } from './harness/refused-by.js';
import { startRelay } from './harness/relay.js';
import { secretFile } from './harness/secret-file.js';
import { sharedSlapd } from './harness/shared-slapd.js';
import { byTemplate, people, type Slapd, searching } from './harness/slapd.js';

const alice = passwordCredentials('alice', 'wonderland');
const addAlice = async (slapd: Slapd) => {
  await slapd.addPerson('alice', 'wonderland');
};
const directory = sharedSlapd(addAlice);
const withoutTls = sharedSlapd(addAlice, { tls: false, anonymousMayRead: true });
const misnamed = sharedSlapd(addAlice, { certificateFor: 'localhost' });

const modes = [
  ['search', searching],
  ['a DN template', byTemplate],
] as const;

/** A server that does as told with each connection; closed after the test. */
async function startServer(t: TestContext, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const silent = (t: TestContext) => startServer(t, (socket) => socket.resume());

describe('TLS to a directory', () => {
  for (const [scheme, settingsOf] of [
    ['ldaps', (slapd: Slapd) => ({ url: slapd.secureUrl })],
    ['StartTLS', (slapd: Slapd) => ({ url: slapd.url, startTls: true })],
  ] as const) {
    for (const [mode, modeSettings] of modes) {
      it(`by ${scheme}, by ${mode}`, async (t) => {
        const slapd = await directory(t);
        if (slapd === undefined) return;
        const relay = await startRelay(t, scheme === 'ldaps' ? slapd.secureUrl : slapd.url);
        const settings = modeSettings(slapd, { ...settingsOf(slapd), url: relay.url, ca: slapd.ca });
        const { verifier } = await openVerifier(t, driver, settings);
        assert.equal((await verifier.verify(alice, o))?.name, 'alice');
        assert.equal((await verifier.verify(alice, o))?.name, 'alice');
        assert.ok(relay.sent().length > 0, 'nothing went through');
        for (const secret of ['wonderland', slapd.service.password, 'alice'])
          assert.ok(!relay.sent().includes(secret), `${secret} was sent in plain text`);
      });
    }

    it(`by ${scheme}: a certificate of another authority`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const other = secretFile(t, (await createAuthority()).certificate);
      const { verifier } = await openVerifier(
        t,
        driver,
        searching(slapd, { ...settingsOf(slapd), ca: other.file }),
      );
      await refusedBy(
        verifier.verify(alice, o),
        'UNAVAILABLE',
        /127\.0\.0\.1:\d+: .*name its authority as `ca`/,
      );
    });

    it(`by ${scheme}: a certificate of an unknown authority, and no ca`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const { verifier } = await openVerifier(t, driver, byTemplate(slapd, settingsOf(slapd)));
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /name its authority as `ca`/);
    });

    it(`by ${scheme}: a certificate for another name`, async (t) => {
      const slapd = await misnamed(t);
      if (slapd === undefined) return;
      const { url, ...rest } = { startTls: false, ...settingsOf(slapd) };
      const verifierFor = async (host: string) => {
        const more = { ...rest, url: url.replace('127.0.0.1', host), ca: slapd.ca };
        return (await openVerifier(t, driver, searching(slapd, more))).verifier;
      };
      assert.equal((await (await verifierFor('localhost')).verify(alice, o))?.name, 'alice');
      const elsewhere = await verifierFor('127.0.0.1');
      await refusedBy(elsewhere.verify(alice, o), 'UNAVAILABLE', /certificate is for another name/);
    });
  }

  it('is not done without where the server refuses StartTLS', async (t) => {
    const slapd = await withoutTls(t);
    if (slapd === undefined) return;
    const relay = await startRelay(t, slapd.url);
    for (const [, settingsOf] of modes) {
      const { verifier } = await openVerifier(
        t,
        driver,
        settingsOf(slapd, { url: relay.url, startTls: true }),
      );
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /StartTLS/);
    }
    assert.ok(!/wonderland|service password/.test(relay.sent()), 'a password was sent');
  });

  it('says so where the server speaks plain LDAP', async (t) => {
    const slapd = await withoutTls(t);
    if (slapd === undefined) return;
    const url = slapd.url.replace('ldap:', 'ldaps:');
    const { verifier } = await openVerifier(t, driver, searching(slapd, { url }));
    await refusedBy(
      verifier.verify(alice, o),
      'UNAVAILABLE',
      /is it ldap:\/\/.*is the server behind it down\?/,
    );
  });
});

describe('several servers', () => {
  it('the one that answered is asked first, and the dead one is told of once', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const dead = await startRelay(t, slapd.url);
    await dead.close();
    const alive = await startRelay(t, slapd.url);
    const { verifier, log } = await openVerifier(t, driver, searching(slapd, { url: [dead.url, alive.url] }));
    for (let i = 0; i < 3; i++) assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    assert.equal(log.at('warn').length, 1, log.text);
    assert.match(log.text, new RegExp(`${new URL(dead.url).port}.*ECONNREFUSED`));
  });

  it('one that failed is not asked again while another one answers', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    let asked = 0;
    const failing = await startServer(t, (socket) => {
      asked++;
      socket.destroy();
    });
    const clock = new FakeClock();
    const settings = byTemplate(slapd, { url: [`ldap://${failing}`, slapd.url] });
    const { verifier } = await openVerifier(t, driver, settings, { clock });
    for (let i = 0; i < 3; i++) {
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      assert.equal(asked, 1);
      clock.advance(60_000);
    }
  });

  it('the second is asked only when the first does not answer', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const [first, second] = [await startRelay(t, slapd.url), await startRelay(t, slapd.url)];
    const { verifier } = await openVerifier(t, driver, searching(slapd, { url: [first.url, second.url] }));
    await verifier.verify(alice, o);
    assert.equal(second.connections(), 0);
    await first.close();
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    assert.ok(second.connections() > 0, 'the second was not asked');
  });

  it('one that is silent is left for the next, at the start and in mid-life', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    for (const [, settingsOf] of modes) {
      const [first, second] = [await startRelay(t, slapd.url), await startRelay(t, slapd.url)];
      const url = [`ldaps://${await silent(t)}`, first.url, second.url];
      const settings: object = settingsOf(slapd, { url, timeout: '4s' });
      const { verifier }: { verifier: Verifier } = await openVerifier(t, driver, settings);
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      first.freeze();
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      assert.ok(second.connections() > 0, 'the second was not asked');
    }
  });

  it('with none that answers it cannot tell, and says of each why', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const url = [`ldap://127.0.0.1:${await freePort()}`, `ldaps://127.0.0.1:${await freePort()}`];
    for (const [, settingsOf] of modes) {
      const settings: object = settingsOf(slapd, { url });
      const { verifier, log }: { verifier: Verifier; log: FakeLog } = await openVerifier(t, driver, settings);
      const error = await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /ECONNREFUSED/);
      for (const one of url) assert.ok(error.reason?.includes(new URL(one).port), error.reason);
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /ECONNREFUSED/);
      assert.equal(log.at('warn').length, url.length, log.text);
    }
  });
});

describe('a directory that goes away', () => {
  for (const [mode, settingsOf] of modes) {
    it(`stopped and started again, by ${mode}`, async (t) => {
      const slapd = await withoutTls(t);
      if (slapd === undefined) return;
      const { verifier } = await openVerifier(t, driver, settingsOf(slapd));
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      await slapd.stop();
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no answer from 127\.0\.0\.1/);
      await slapd.restart();
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      await slapd.restart();
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    });
  }

  for (const [mode, settingsOf, bound] of [
    ['search', searching, 4],
    ['a DN template', byTemplate, 16],
  ] as const) {
    it(`that hangs is waited for by few, and found again by the next, by ${mode}`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const relay = await startRelay(t, slapd.secureUrl);
      const more = { url: relay.url, startTls: false, ca: slapd.ca, timeout: '1500ms' };
      const { verifier } = await openVerifier<unknown>(t, driver as never, settingsOf(slapd, more));
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      for (let round = 1; round <= 2; round++) {
        relay.freeze();
        const before = relay.connections();
        const logins = Array.from({ length: 60 }, () => failureOf(() => verifier.verify(alice, options())));
        const reasons = (await Promise.all(logins)).map((error) => (error as RegistryError).reason ?? '');
        const atOnce = reasons.filter((reason) =>
          /^every server of the directory failed lately.* trying them again \(no answer from 127\.0\.0\.1:\d+: /.test(
            reason,
          ),
        );
        assert.ok(atOnce.length >= 60 - bound - 2, `only ${atOnce.length}: ${reasons.join('\n')}`);
        assert.ok(relay.connections() - before <= bound + 2, `${relay.connections() - before} connections`);
        await sleep(0); // whose time is over is told so before it has left
        const trial = await failureOf(() => verifier.verify(alice, o));
        assert.match((trial as RegistryError).reason ?? '', /^no answer/);
        relay.thaw();
        assert.equal((await verifier.verify(alice, o))?.name, 'alice', 'the first after its return');
        const all = await Promise.all(Array.from({ length: 20 }, () => verifier.verify(alice, o)));
        assert.ok(
          all.every((one) => one?.name === 'alice'),
          'somebody was refused',
        );
      }
    });
  }

  it('a connection that was cut is replaced, and nothing is said of it', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const relay = await startRelay(t, slapd.url);
    const { verifier, log } = await openVerifier(t, driver, searching(slapd, { url: relay.url }));
    for (let i = 0; i < 3; i++) {
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
      relay.cut();
    }
    assert.deepEqual(log.at('warn'), []);
  });

  for (const [what, answer] of [
    ['says nothing', (socket: Socket) => socket.resume()],
    ['speaks HTTP', (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')],
    ['hangs up', (socket: Socket) => socket.destroy()],
  ] as const) {
    for (const scheme of ['ldap', 'ldaps']) {
      it(`a server that ${what}, by ${scheme}`, async (t) => {
        const slapd = await directory(t);
        if (slapd === undefined) return;
        const url = `${scheme}://${await startServer(t, answer)}`;
        for (const [, settingsOf] of modes) {
          const { verifier } = await openVerifier(t, driver, settingsOf(slapd, { url, timeout: '300ms' }));
          await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no answer from 127\.0\.0\.1/);
        }
      });
    }
  }

  it('a server that says too much', async (t) => {
    const endless = await startServer(t, (socket) => {
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      };
      socket.once('data', () => {
        // A message of 2 GiB begins.
        socket.write(Buffer.from('30847fffffff', 'hex'));
        socket.on('drain', more);
        more();
      });
    });
    const settings = { url: `ldap://${endless}`, search: { base: people }, timeout: '20s' };
    const { verifier } = await openVerifier(t, driver, settings);
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /larger than/);
  });

  it('who leaves is let go, wherever it waits', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const relay = await startRelay(t, slapd.url);
    const { verifier } = await openVerifier(t, driver, searching(slapd, { url: relay.url, timeout: '1m' }));
    await verifier.verify(alice, o);
    relay.freeze();
    const leaving = new AbortController();
    const reason = new Error('nobody waits any more');
    const waiting = Array.from({ length: 8 }, () =>
      failureOf(() => verifier.verify(alice, { signal: leaving.signal })),
    );
    setImmediate(() => leaving.abort(reason));
    for (const failure of await Promise.all(waiting)) assert.equal(failure, reason);
  });
});

describe('connections', () => {
  it('one of the service account is kept, and none of a user', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const relay = await startRelay(t, slapd.url);
    const { verifier } = await openVerifier(t, driver, searching(slapd, { url: relay.url }));
    for (let i = 0; i < 3; i++) await verifier.verify(alice, o);
    assert.equal(relay.connections(), 4, 'one that searches, and three binds');
    assert.ok(await waitFor(() => relay.open() === 1, 5_000), `${relay.open()} are open`);
    await verifier.close();
    assert.ok(await waitFor(() => relay.open() === 0, 5_000), `${relay.open()} are open`);
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /closed/);
  });

  for (const [mode, settingsOf, bound] of [
    ['search', searching, 4],
    ['a DN template', byTemplate, 16],
  ] as const) {
    it(`are bounded, however many log in at once, by ${mode}`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const relay = await startRelay(t, slapd.url);
      relay.freeze();
      const settings: object = settingsOf(slapd, { url: relay.url, timeout: '1m' });
      const { verifier } = await openVerifier(t, driver, settings);
      const leaving = Array.from({ length: 40 }, () => new AbortController());
      const logins = leaving.map(({ signal }) => failureOf(() => verifier.verify(alice, { signal })));
      assert.ok(await waitFor(() => relay.connections() >= bound, 5_000), `only ${relay.connections()}`);
      // One too many would be there by now.
      await sleep(100);
      assert.equal(relay.connections(), bound);
      for (const one of leaving) one.abort(new Error('left'));
      await Promise.all(logins);
    });
  }

  for (const [mode, settings, bound] of [
    ['search', { search: { base: people } }, 4],
    ['a DN template', { bindDn: `uid={username},${people}` }, 16],
  ] as const) {
    it(`are next for who comes from elsewhere, by ${mode}`, async (t) => {
      const asked: string[] = [];
      const server = await startServer(t, (socket) => {
        socket.on('data', (bytes) =>
          asked.push(/alice|crowd/.exec(bytes.toString('latin1'))?.[0] ?? 'other'),
        );
      });
      const url = `ldap://${server}`;
      const { verifier } = await openVerifier(t, driver, { url, timeout: '1m', ...settings });
      const come = (username: string, address: string, leaving: AbortController) =>
        failureOf(() =>
          verifier.verify({ ...passwordCredentials(username, 'x'), connection: { address } }, leaving),
        );
      const leaving = Array.from({ length: 40 }, () => new AbortController());
      const logins = leaving.map((one, i) => come('crowd', `2001:db8:0:${i % 5}::${i}`, one));
      assert.ok(await waitFor(() => asked.length >= bound, 5_000), `only ${asked.length}`);
      const alone = new AbortController();
      logins.push(come('alice', '192.0.2.1', alone));
      leaving[0]?.abort(new Error('left'));
      assert.ok(await waitFor(() => asked.length > bound, 5_000), 'nobody was next');
      assert.deepEqual(asked.slice(bound), ['alice']);
      for (const one of [...leaving, alone]) one.abort(new Error('left'));
      await Promise.all(logins);
    });
  }

  it('are enough for many who log in at once', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd, { timeout: '30s' }));
    const logins = Array.from({ length: 100 }, () => verifier.verify(alice, options()));
    const found = await Promise.all(logins);
    assert.ok(
      found.every((one) => one?.name === 'alice'),
      'somebody was refused',
    );
  });
});

describe('the service account', () => {
  it('its password is rotated by its file', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { dn, password } = slapd.service;
    const secret = secretFile(t, 'yesterday');
    const bind = { dn, password: { file: secret.file } };
    const { verifier } = await openVerifier(t, driver, searching(slapd, { bind }));
    const error = await refusedBy(
      verifier.verify(alice, o),
      'UNAVAILABLE',
      /127\.0\.0\.1:\d+ refused the service account: invalid credentials \(49\)/,
    );
    assert.ok(!error.reason?.includes('yesterday'), 'the reason has the secret');
    secret.replace(password);
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
  });

  it('is not needed where everybody may read', async (t) => {
    const slapd = await withoutTls(t);
    if (slapd === undefined) return;
    const settings = { url: slapd.url, search: { base: people } };
    const { verifier } = await openVerifier(t, driver, settings);
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    await refusedBy(verifier.verify(passwordCredentials('alice', 'x'), o), 'UNAUTHORIZED', /wrong password/);
  });

  for (const [what, more, bind] of [
    ['a base that is not there', { search: { base: 'ou=nowhere,dc=example,dc=com' } }, true],
    ['a base that it may not read', {}, false],
  ] as const) {
    it(`${what} is told of, and nobody is "not mine"`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const settings = searching(slapd, { ...more, ...(!bind && { bind: undefined }) });
      const { verifier } = await openVerifier(t, driver, settings);
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /\((32|50)\): is `base` right/);
    });
  }
});
