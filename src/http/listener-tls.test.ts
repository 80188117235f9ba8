import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { before, describe, type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { certify, createAuthority, type TestCertificate } from '../testing/certificates.js';
import { FakeClock, FakeLog, FakeMetrics } from '../testing/index.js';
import type { Listener } from './listener.js';
import { open, RawConnection } from './raw-connection.test.js';
import type { ClientCertificates, TlsContext } from './tls-gate.js';

const hour = 3_600_000;
const day = 24 * hour;

/** As the front server reads it. @returns the name in the client's certificate, or `nobody` */
function answerName({ socket }: IncomingMessage, response: ServerResponse): void {
  const raw = (socket as TLSSocket).getPeerCertificate()?.raw;
  response.end(`${raw === undefined ? 'nobody' : new X509Certificate(raw).subject} done`);
}

async function listen(t: TestContext, tls: TlsContext, more = {}) {
  const [metrics, log] = [new FakeMetrics(), new FakeLog()];
  const listener = await open(t, answerName, { tls, metrics, log, ...more });
  const refused = () => metrics.value('connection_refusals_total', { listener: 'front', reason: 'tls' });
  return { listener, log, refused };
}

const shown = ({ certificate, privateKey }: TestCertificate): ConnectionOptions => ({
  cert: certificate,
  key: privateKey,
});

/** @returns who the listener takes us for, or undefined where it closed the connection */
async function ask(listener: Listener, options: ConnectionOptions = {}): Promise<string | undefined> {
  const connection = new RawConnection(listener, '', options);
  if (!(await connection.ask())) return undefined;
  connection.socket.destroy();
  return /(\S+) done$/.exec(connection.text)?.[1];
}

/** @returns the error of a handshake, or undefined where it succeeds */
function handshake({ address }: Listener, options: ConnectionOptions): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port: address.port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket
      .once('secureConnect', () => resolve(undefined))
      .once('error', (error: Error) => resolve(error.message));
    socket.once('close', () => resolve('closed')).once('secureConnect', () => socket.destroy());
  });
}

describe('TLS', { timeout: 60_000 }, () => {
  let ours: TestCertificate;
  let renewed: TestCertificate;
  let ofRsa: TestCertificate;
  let authority: TestCertificate;
  let foreign: TestCertificate;
  let alice: TestCertificate;
  let bob: TestCertificate;
  let mallory: TestCertificate;
  let expired: TestCertificate;
  let notYet: TestCertificate;
  before(async () => {
    [ours, renewed, ofRsa, authority, foreign] = await Promise.all([
      createAuthority(),
      createAuthority(),
      createAuthority({ kind: 'rsa' }),
      createAuthority({ name: 'authority', notBefore: Date.now() - 30 * day, notAfter: Date.now() + day }),
      createAuthority({ name: 'authority' }), // of the same name
    ]);
    [alice, bob, mallory, expired, notYet] = await Promise.all([
      certify(authority, { name: 'alice' }),
      certify(authority, { name: 'bob' }),
      certify(foreign, { name: 'alice' }),
      certify(authority, { name: 'alice', notBefore: Date.now() - 2 * day, notAfter: Date.now() - day }),
      certify(authority, { name: 'alice', notBefore: Date.now() + hour, notAfter: Date.now() + day }),
    ]);
  });
  const context = (
    clientCertificates?: Partial<ClientCertificates>,
    minVersion?: 'TLSv1.2' | 'TLSv1.3',
  ): TlsContext => ({
    certificate: ours.certificate,
    key: ours.privateKey,
    ...(minVersion && { minVersion }),
    ...(clientCertificates && {
      clientCertificates: { ca: authority.certificate, required: false, ...clientCertificates },
    }),
  });
  const rsaContext = (): TlsContext => ({ certificate: ofRsa.certificate, key: ofRsa.privateKey });

  describe('what it speaks', () => {
    const old = { ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    const only12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    for (const [what, options, minVersion, refused] of [
      ['TLS 1.0', { ...old, minVersion: 'TLSv1', maxVersion: 'TLSv1' }, undefined, true],
      ['TLS 1.1', { ...old, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }, undefined, true],
      ['TLS 1.2', only12, undefined, false],
      ['TLS 1.3', { minVersion: 'TLSv1.3' }, undefined, false],
      ['TLS 1.2 where 1.3 is asked for', only12, 'TLSv1.3', true],
      ['TLS 1.3 where it is asked for', { minVersion: 'TLSv1.3' }, 'TLSv1.3', false],
    ] as const) {
      test(`${what} is ${refused ? 'refused' : 'spoken'}`, async (t) => {
        const { listener, refused: count } = await listen(t, context(undefined, minVersion));
        assert.equal((await handshake(listener, options)) !== undefined, refused);
        assert.equal(count(), refused ? 1 : 0);
      });
    }

    for (const [cipher, refused] of [
      ['ECDHE-ECDSA-AES128-GCM-SHA256', false],
      ['ECDHE-ECDSA-AES256-GCM-SHA384', false],
      ['ECDHE-ECDSA-CHACHA20-POLY1305', false],
      ['ECDHE-ECDSA-AES128-SHA256', true], // CBC
      ['ECDHE-ECDSA-AES256-SHA', true],
      ['ECDHE-RSA-AES128-GCM-SHA256', false],
      ['ECDHE-RSA-AES256-GCM-SHA384', false],
      ['ECDHE-RSA-CHACHA20-POLY1305', false],
      ['ECDHE-RSA-AES128-SHA256', true],
      ['ECDHE-RSA-AES256-SHA', true],
      ['AES128-GCM-SHA256', true], // no forward secrecy
      ['AES256-SHA', true],
    ] as const) {
      test(`${cipher} is ${refused ? 'refused' : 'taken'}`, async (t) => {
        const { listener } = await listen(t, cipher.includes('ECDSA') ? context() : rsaContext());
        const options = { ...only12, ciphers: `${cipher}:@SECLEVEL=0` };
        assert.equal((await handshake(listener, options)) !== undefined, refused);
      });
    }

    test('the client chooses among the ciphers', async (t) => {
      const { listener } = await listen(t, context());
      for (const cipher of ['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES256-GCM-SHA384']) {
        const ciphers = `${cipher}:ECDHE-ECDSA-AES128-GCM-SHA256`;
        const { socket, connected } = new RawConnection(listener, '', { ...only12, ciphers });
        await connected;
        assert.equal((socket as TLSSocket).getCipher().name, cipher);
        socket.destroy();
      }
    });

    test('HTTP/1.1 is what is agreed on; a client that knows only HTTP/2 is told so', async (t) => {
      const { listener, refused } = await listen(t, context());
      const both = new RawConnection(listener, '', { ALPNProtocols: ['h2', 'http/1.1'] });
      await both.connected;
      assert.equal((both.socket as TLSSocket).alpnProtocol, 'http/1.1');
      both.socket.destroy();
      assert.match((await handshake(listener, { ALPNProtocols: ['h2'] })) ?? '', /no application protocol/);
      assert.equal(refused(), 1);
      const session = connectHttp2(`https://127.0.0.1:${listener.address.port}`, {
        rejectUnauthorized: false,
      });
      await assert.rejects(once(session, 'connect'));
      assert.equal(await ask(listener), 'nobody', 'without ALPN');
    });

    test('a client cannot renegotiate', async (t) => {
      const { listener } = await listen(t, context());
      const { socket, connected } = new RawConnection(listener, '', only12);
      await connected;
      const error = await new Promise((resolve) => {
        socket.once('error', resolve).once('close', () => resolve(new Error('closed')));
        (socket as TLSSocket).renegotiate({ rejectUnauthorized: false }, resolve);
      });
      assert.ok(error instanceof Error, 'it fails');
      socket.destroy();
    });
  });

  describe('client certificates', () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const only = { minVersion: version, maxVersion: version } as const;
      for (const [what, who, asked, expected, reason] of [
        ['none, and not asked', undefined, undefined, 'nobody', undefined],
        ['one, and not asked', () => alice, undefined, 'nobody', undefined],
        ['none', undefined, { required: false }, 'nobody', undefined],
        ['none, and required', undefined, { required: true }, undefined, 'none'],
        ['ours', () => alice, { required: false }, 'CN=alice', undefined],
        ['ours, and required', () => alice, { required: true }, 'CN=alice', undefined],
        ...([false, true] as const).flatMap(
          (required) =>
            [
              [
                `a foreign one, required ${required}`,
                () => mallory,
                { required },
                undefined,
                /UNABLE|SIGNATURE/,
              ],
              [
                `an expired one, required ${required}`,
                () => expired,
                { required },
                undefined,
                'CERT_HAS_EXPIRED',
              ],
              [
                `a future one, required ${required}`,
                () => notYet,
                { required },
                undefined,
                'CERT_NOT_YET_VALID',
              ],
              [`its own signer, required ${required}`, () => foreign, { required }, undefined, /SELF_SIGNED/],
            ] as const,
        ),
      ] as const) {
        test(`${version}: ${what}: ${expected ?? 'closed'}`, async (t) => {
          const { listener, refused, log } = await listen(t, context(asked));
          assert.equal(await ask(listener, { ...only, ...(who && shown(who())) }), expected);
          assert.equal(refused(), expected === undefined ? 1 : 0);
          const logged = log.at('warn').map(({ fields }) => String(fields.reason));
          assert.equal(logged.length, reason === undefined ? 0 : 1);
          if (reason !== undefined) assert.match(logged[0] ?? '', new RegExp(reason));
        });
      }

      test(`${version}: who needs one and shows none is told so by TLS`, async (t) => {
        const { listener } = await listen(t, context({ required: true }));
        const { socket, closed } = new RawConnection(listener, '', only);
        const failed = new Promise<Error>((resolve) => socket.once('error', resolve));
        assert.match(
          (await failed).message,
          version === 'TLSv1.3' ? /certificate required/ : /handshake failure/,
        );
        await closed;
      });

      test(`${version}: each handshake looks at the certificate: a session is not taken up again`, async (t) => {
        const { listener } = await listen(t, context({}));
        const session = async (options: ConnectionOptions) => {
          const sessions: Buffer[] = [];
          const connection = new RawConnection(listener, '', { ...only, ...options });
          connection.socket.on('session', (one: Buffer) => sessions.push(one));
          assert.ok(await connection.ask(), 'it is let in');
          connection.socket.destroy();
          return sessions.at(-1);
        };
        const ofAlice = await session(shown(alice));
        const ofNobody = await session({});
        for (const [known, certificate, expected] of [
          [ofAlice, bob, 'CN=bob'],
          [ofAlice, undefined, 'nobody'],
          [ofAlice, alice, 'CN=alice'],
          [ofNobody, alice, 'CN=alice'],
          [ofAlice, expired, undefined],
        ] as const) {
          const more = { ...(certificate && shown(certificate)), ...(known && { session: known }) };
          assert.equal(await ask(listener, { ...only, ...more }), expected);
        }
      });
    }

    test('without client certificates a session is taken up again', async (t) => {
      const { listener } = await listen(t, context());
      const first = new RawConnection(listener, '', {});
      const session = once(first.socket, 'session') as Promise<[Buffer]>;
      assert.ok(await first.ask(), 'served');
      const again = new RawConnection(listener, '', { session: (await session)[0] });
      assert.ok(await again.ask(), 'served');
      assert.equal((again.socket as TLSSocket).isSessionReused(), true);
      for (const { socket } of [first, again]) socket.destroy();
    });

    test('one that ends while the connection is open is good no longer', async (t) => {
      const clock = new FakeClock(Date.now());
      const { listener, refused } = await listen(t, context({}), { clock });
      const connection = new RawConnection(listener, '', shown(alice));
      assert.ok(await connection.ask(), 'served');
      clock.advance(2 * hour);
      assert.equal(await connection.ask(), false);
      assert.equal(refused(), 1);
    });

    test('refusals do not flood the log, but they are all told', async (t) => {
      const clock = new FakeClock(Date.now());
      const { listener, refused, log } = await listen(t, context({}), { clock });
      for (let i = 0; i < 5; i++) await ask(listener, shown(mallory));
      assert.equal(refused(), 5);
      assert.equal(log.entries.length, 1);
      clock.advance(60_000);
      await ask(listener, shown(mallory));
      assert.deepEqual(
        log.entries.map(({ level, fields }) => [level, fields.unlogged, fields.address]),
        [
          ['warn', 0, '127.0.0.1'],
          ['warn', 4, '127.0.0.1'],
        ],
      );
    });
  });

  describe('another context, while it runs', () => {
    const servedTo = ({ socket }: RawConnection) =>
      (socket as TLSSocket).getPeerX509Certificate()?.fingerprint256;
    const fingerprint = ({ certificate }: TestCertificate) => new X509Certificate(certificate).fingerprint256;

    test('a renewed certificate is served to new connections, all else stays', async (t) => {
      const { listener } = await listen(t, context({}, 'TLSv1.3'));
      const before = new RawConnection(listener, '', shown(alice));
      assert.ok(await before.ask(), 'served');
      listener.replaceCertificate({
        ...context({}, 'TLSv1.3'),
        certificate: renewed.certificate,
        key: renewed.privateKey,
      });
      assert.ok(await before.ask(), 'the open connection goes on');
      assert.match(before.text, /CN=alice/);
      const after = new RawConnection(listener, '', shown(alice));
      assert.ok(await after.ask(), 'served');
      assert.equal(servedTo(before), fingerprint(ours));
      assert.equal(servedTo(after), fingerprint(renewed));
      assert.equal(await ask(listener, shown(mallory)), undefined);
      assert.notEqual(await handshake(listener, { maxVersion: 'TLSv1.2' }), undefined);
      for (const { socket } of [before, after]) socket.destroy();
    });

    test('one that TLS cannot use changes nothing', async (t) => {
      const { listener } = await listen(t, context({}));
      assert.throws(() => listener.replaceCertificate({ ...context(), key: renewed.privateKey }), /mismatch/);
      assert.equal(await ask(listener, shown(alice)), 'CN=alice');
    });

    for (const [what, change] of [
      ['another authority', () => ({ ca: foreign.certificate })],
      ['certificates become required', () => ({ required: true })],
    ] as const) {
      test(`${what}: open connections end, after the request under way`, async (t) => {
        const answers: (() => void)[] = [];
        let hold = false;
        const [metrics, log] = [new FakeMetrics(), new FakeLog()];
        const handle = (request: IncomingMessage, response: ServerResponse) => {
          if (hold) answers.push(() => answerName(request, response));
          else answerName(request, response);
        };
        const listener = await open(t, handle, { tls: context({}), metrics, log });
        const [idle, busy] = [1, 2].map(() => new RawConnection(listener, '', shown(alice)));
        assert.ok(idle && busy && (await idle.ask()) && (await busy.ask()), 'served');
        hold = true;
        const answered = busy.ask();
        while (answers.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
        listener.replaceCertificate(context(change()));
        await idle.closed;
        for (const answer of answers) answer();
        assert.equal(await answered, true);
        await busy.closed;
        assert.match(busy.text, /connection: close[\s\S]*CN=alice done$/i);
      });
    }

    test('whom the authority before signed is refused, whom the new one signed is taken', async (t) => {
      const { listener } = await listen(t, context({}));
      listener.replaceCertificate(context({ ca: foreign.certificate }));
      assert.equal(await ask(listener, shown(alice)), undefined);
      assert.equal(await ask(listener, shown(mallory)), 'CN=alice');
      listener.replaceCertificate(context());
      assert.equal(await ask(listener, shown(alice)), 'nobody', 'nobody is asked any more');
      listener.replaceCertificate(context({ required: true }));
      assert.equal(await ask(listener), undefined);
    });

    test('other bounds leave TLS as it is', async (t) => {
      const { listener } = await listen(t, context({ required: true }, 'TLSv1.3'));
      const limits = { connections: 10, connectionsPerAddress: 10, headerTime: 5_000, idle: 5_000 };
      listener.adjust({ limits, isTrusted: () => false });
      assert.equal(await ask(listener, shown(alice)), 'CN=alice');
      assert.equal(await ask(listener), undefined);
      assert.notEqual(await handshake(listener, { ...shown(alice), maxVersion: 'TLSv1.2' }), undefined);
    });
  });
});
