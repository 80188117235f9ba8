import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bytesOf, generatedBlob, type MemoryRegistry, startMemoryRegistry } from '../../src/testing/index.js';
import { basic, type Front, passwords, sendRaw, sharedScope, startFront } from '../harness/index.js';

describe('threat 11: a truncated blob looks complete', () => {
  const scope = sharedScope();
  const size = 300_000;
  let registry: MemoryRegistry;
  let front: Front;
  let path: string;

  before(async () => {
    registry = await startMemoryRegistry({ storage: { redirect: 'absolute' } });
    const plain = await startMemoryRegistry();
    scope.after(() => registry.close());
    scope.after(() => plain.close());
    const blob = await generatedBlob(size);
    for (const one of [registry, plain]) one.putBlob('app', blob);
    path = `blobs/${blob.digest}`;
    front = await startFront(
      scope,
      `
upstreams: { plain: { url: "${plain.url}" }, stored: { url: "${registry.url}" } }
routes: [{ prefix: "plain/", upstream: plain }, { prefix: "stored/", upstream: stored }]
`,
    );
    faulty = { plain, stored: registry };
  });

  let faulty: Readonly<Record<'plain' | 'stored', MemoryRegistry>>;

  for (const place of ['plain', 'stored'] as const) {
    const server = place === 'plain' ? 'registry' : 'storage';
    const url = () => `/v2/${place}/app/${path}`;

    for (const [framing, effect] of [
      ['with Content-Length', {}],
      ['chunked', { framing: 'chunked' }],
      ['delimited by the end of the connection', { framing: 'close' }],
    ] as const) {
      for (const [what, cut] of [
        ['cut in half', { cutAfter: size / 2 }],
        ['cut before its first byte', { cutAfter: 0 }],
        ['cut before its last byte', { cutAfter: size - 1 }],
      ] as const) {
        test(`${place}: ${what}, ${framing}: the client never sees a complete answer`, async () => {
          const remove = faulty[place].faults.add(
            { server, method: 'GET', path: 'sha256' },
            { ...effect, ...cut },
          );
          const answer = await front.sendAs('alice', url()).catch(() => undefined);
          remove();
          if (answer === undefined) return; // the connection ended before any answer
          assert.ok(
            !answer.whole || answer.status >= 400,
            `${answer.status}, ${answer.body.length} bytes, whole`,
          );
          assert.ok(answer.body.length < size, 'answer.body.length < size');
        });

        test(`${place}: ${what}, ${framing}: nor does a client of HTTP/1.0`, async () => {
          const remove = faulty[place].faults.add(
            { server, method: 'GET', path: 'sha256' },
            { ...effect, ...cut },
          );
          const authorization = `Authorization: ${basic('alice', passwords.alice)}`;
          const { bytes, end } = await sendRaw(
            front.port,
            `GET ${url()} HTTP/1.0\r\n${authorization}\r\n\r\n`,
          );
          remove();
          const head = bytes.subarray(0, Math.max(bytes.indexOf('\r\n\r\n'), 0)).toString('latin1');
          const declared = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? Number.NaN);
          const refused = /^HTTP\/1\.1 [45]/.test(head);
          const short = bytes.length - head.length - 4 < declared;
          // Without a length only a reset tells this client that something is missing.
          assert.ok(
            bytes.length === 0 || refused || short || end === 'reset',
            `${end} after ${bytes.length} bytes\n${head}`,
          );
        });
      }

      test(`${place}: whole, ${framing}: the client sees a complete answer`, async () => {
        const remove = faulty[place].faults.add({ server, path: 'sha256' }, effect);
        const answer = await front.sendAs('alice', url());
        remove();
        assert.equal(answer.whole, true);
        assert.ok(
          answer.body.equals(bytesOf(await generatedBlob(size))),
          'answer.body.equals(bytesOf(await generatedBlob(size)))',
        );
      });

      if (framing === 'with Content-Length') continue;
      test(`${place}: other bytes without a length, ${framing}: the client never sees a complete answer`, async () => {
        const remove = faulty[place].faults.add(
          { server, path: 'sha256' },
          { ...effect, corruptAt: size / 2 },
        );
        const answer = await front.sendAs('alice', url());
        remove();
        assert.equal(answer.whole, false);
      });
    }

    test(`${place}: a part that is cut is not complete either`, async () => {
      for (const framing of [{}, { framing: 'chunked' }, { framing: 'close' }] as const) {
        const remove = faulty[place].faults.add({ server, path: 'sha256' }, { ...framing, cutAfter: 500 });
        const answer = await front.sendAs('alice', url(), { headers: { range: 'bytes=1000-1999' } });
        remove();
        assert.ok(!answer.whole, `${answer.status}, ${answer.body.length} bytes, whole`);
      }
    });
  }

  test('a manifest or a list that is cut: an error, never a part', async () => {
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config: { digest: 'x'.repeat(500) } }));
    faulty.plain.putManifest('app', '1', manifest, 'application/vnd.oci.image.manifest.v1+json');
    for (const what of ['manifests/1', 'tags/list']) {
      for (const framing of [{}, { framing: 'chunked' }] as const) {
        const remove = faulty.plain.faults.add({ path: what }, { ...framing, cutAfter: 10 });
        const answer = await front.sendAs('alice', `/v2/plain/app/${what}`);
        remove();
        assert.equal(answer.status, 503, `${what}: ${answer.text}`);
      }
    }
  });

  test('referrers that are cut: never complete', async () => {
    for (const framing of [{}, { framing: 'chunked' }] as const) {
      const remove = faulty.plain.faults.add({ path: '/referrers/' }, { ...framing, cutAfter: 10 });
      const answer = await front.sendAs('alice', `/v2/plain/app/referrers/sha256:${'0'.repeat(64)}`);
      remove();
      assert.ok(!answer.whole || answer.status === 503, '!answer.whole || answer.status === 503');
    }
  });
});
