import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  assertErrorBody,
  basic,
  type Front,
  passwords,
  sendRaw,
  sharedScope,
  startFront,
} from '../harness/index.js';

const authorization = `Authorization: ${basic('alice', passwords.alice)}`;
const digest = `sha256:${'0'.repeat(64)}`;

interface Case {
  readonly what: string;
  readonly bytes: string | Buffer;
  readonly status: number;
  /** Absent: a success. */
  readonly code?: string;
}

const get = (target: string, ...lines: readonly string[]) => message('GET', target, ...lines);

function message(method: string, target: string, ...lines: readonly string[]): string {
  return [`${method} ${target} HTTP/1.1`, 'Host: docker.test', 'Connection: close', ...lines, '', ''].join(
    '\r\n',
  );
}

function bad(what: string, bytes: string | Buffer, status: number, code: string): Case {
  return { what, bytes, status, code };
}

function form(body: string, ...lines: readonly string[]): string {
  return `${message('POST', '/token', `Content-Length: ${body.length}`, ...lines)}${body}`;
}

const signedIn = (target: string, ...lines: readonly string[]) => get(target, authorization, ...lines);

const methods: readonly Case[] = [
  ...['OPTIONS', 'TRACE', 'PURGE', 'PROPFIND', 'LOCK', 'M-SEARCH'].map((method) =>
    bad(`method ${method}`, message(method, '/v2/app/manifests/1', authorization), 405, 'UNSUPPORTED'),
  ),
  bad('a made-up method', message('FROB', '/v2/'), 400, 'UNSUPPORTED'),
  bad('a method in lower case', message('get', '/v2/'), 400, 'UNSUPPORTED'),
  bad('POST /v2/', message('POST', '/v2/', authorization, 'Content-Length: 0'), 405, 'UNSUPPORTED'),
  bad(
    'PUT of a blob',
    message('PUT', `/v2/app/blobs/${digest}`, authorization, 'Content-Length: 0'),
    405,
    'UNSUPPORTED',
  ),
  bad(
    'PATCH of a manifest',
    message('PATCH', '/v2/app/manifests/1', authorization, 'Content-Length: 0'),
    405,
    'UNSUPPORTED',
  ),
  bad(
    'HEAD is answered without a body elsewhere; DELETE of tags',
    message('DELETE', '/v2/app/tags/list', authorization),
    405,
    'UNSUPPORTED',
  ),
  bad('OPTIONS *', message('OPTIONS', '*'), 404, 'UNSUPPORTED'),
];

const targets: readonly Case[] = [
  ...[
    '/v1/',
    '/v2x',
    '/V2/',
    '//v2/',
    '/v2/_catalog/',
    '/v2//',
    '/v2/app',
    '/v2/app/manifests/',
    '/v2/manifests/1',
    '/token/',
    '/v2/app/frob/1',
  ].map((target) => bad(`nothing at ${target}`, signedIn(target), 404, 'UNSUPPORTED')),
  bad('absolute form', signedIn('http://docker.test/v2/'), 404, 'UNSUPPORTED'),
  bad('absolute form of another host', signedIn('http://169.254.169.254/v2/'), 404, 'UNSUPPORTED'),
  bad('absolute form of another scheme', signedIn('file:///etc/passwd'), 404, 'UNSUPPORTED'),
  bad('a space in the target', signedIn('/v2/a b/manifests/1'), 400, 'UNSUPPORTED'),
  bad('a digest that is too short', signedIn('/v2/app/blobs/sha256:abc'), 400, 'DIGEST_INVALID'),
  bad('a digest in upper case', signedIn(`/v2/app/blobs/sha256:${'A'.repeat(64)}`), 400, 'DIGEST_INVALID'),
  bad('a digest without algorithm', signedIn(`/v2/app/blobs/${'0'.repeat(64)}`), 400, 'DIGEST_INVALID'),
  bad(
    'a digest with a path',
    signedIn(`/v2/app/blobs/sha256:..%2f..%2f${'0'.repeat(58)}`),
    400,
    'DIGEST_INVALID',
  ),
  bad('a manifest by a bad digest', signedIn('/v2/app/manifests/sha256:xyz'), 400, 'DIGEST_INVALID'),
  bad('referrers of a bad digest', signedIn('/v2/app/referrers/1'), 400, 'DIGEST_INVALID'),
  bad('a tag of 129 characters', signedIn(`/v2/app/manifests/${'a'.repeat(129)}`), 400, 'TAG_INVALID'),
  bad('a tag with a dot first', signedIn('/v2/app/manifests/.x'), 400, 'TAG_INVALID'),
  bad('a tag with an encoded slash', signedIn('/v2/app/manifests/a%2fb'), 400, 'TAG_INVALID'),
  bad('a tag with a line end', signedIn('/v2/app/manifests/a%0d%0ab'), 400, 'TAG_INVALID'),
  bad('broken percent-encoding', signedIn('/v2/app/manifests/%zz'), 400, 'NAME_INVALID'),
  bad('percent-encoding that is no UTF-8', signedIn('/v2/app/manifests/%ff'), 400, 'NAME_INVALID'),
  bad(
    'a query of 5000 characters',
    signedIn(`/v2/app/tags/list?last=${'a'.repeat(5000)}`),
    400,
    'NAME_INVALID',
  ),
  bad('a query with raw bytes', signedIn('/v2/app/tags/list?last=\xff'), 400, 'UNSUPPORTED'),
  bad(
    'an upload with a bad digest',
    message('PUT', '/v2/app/blobs/uploads/x?digest=sha256:1', authorization, 'Content-Length: 0'),
    400,
    'DIGEST_INVALID',
  ),
  bad(
    'a mount from a bad name',
    message('POST', `/v2/app/blobs/uploads/?mount=${digest}&from=../x`, authorization, 'Content-Length: 0'),
    400,
    'NAME_INVALID',
  ),
  ...['', '%20', 'a%20b', 'http://x', '..', 'a/b', 'x&ns=y', '%F0%9F%90%B3'].map((ns) =>
    bad(`ns=${ns}`, signedIn(`/v2/app/tags/list?ns=${ns}`), 400, 'NAME_INVALID'),
  ),
  bad('an unknown ns', signedIn('/v2/app/tags/list?ns=gcr.io'), 404, 'NAME_UNKNOWN'),
];

const credentials: readonly Case[] = [
  ...[
    'Basic',
    'Basic ',
    'Basic !',
    'Basic YQ==',
    `Basic ${'A'.repeat(30_000)}`,
    'Bearer',
    'Bearer  ',
    'Bearer a b',
    'Bearer eyJhbGciOiJub25lIn0..',
    'Digest username="x"',
    'Negotiate TlRM',
    '\x80\xff',
    'AWS4-HMAC-SHA256 Credential=x/y, Signature=z',
  ].map((value) =>
    bad(
      `Authorization: ${value.slice(0, 40)}`,
      get('/v2/app/tags/list', `Authorization: ${value}`),
      401,
      'UNAUTHORIZED',
    ),
  ),
  bad(
    'two Authorization headers, the bad one first',
    get('/v2/', 'Authorization: Basic eDp5', authorization),
    401,
    'UNAUTHORIZED',
  ),
];

const framing: readonly Case[] = [
  bad(
    'two different lengths',
    signedIn('/v2/', 'Content-Length: 1', 'Content-Length: 2'),
    400,
    'UNSUPPORTED',
  ),
  bad(
    'the same length twice',
    signedIn('/v2/', 'Content-Length: 0', 'Content-Length: 0'),
    400,
    'UNSUPPORTED',
  ),
  bad(
    'length and chunked',
    `${message('POST', '/token', 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    400,
    'UNSUPPORTED',
  ),
  bad('a negative length', message('POST', '/token', 'Content-Length: -1'), 400, 'UNSUPPORTED'),
  bad('an odd transfer coding', message('POST', '/token', 'Transfer-Encoding: gzip'), 400, 'UNSUPPORTED'),
  bad(
    'a broken chunk',
    `${message('POST', '/token', 'Transfer-Encoding: chunked')}zz\r\n`,
    400,
    'UNSUPPORTED',
  ),
  bad('a header without colon', signedIn('/v2/', 'Frob'), 400, 'UNSUPPORTED'),
  bad('a header with a NUL', signedIn('/v2/', 'X-A: \0'), 400, 'UNSUPPORTED'),
  bad('a folded header', signedIn('/v2/', 'X-A: 1', ' 2'), 400, 'UNSUPPORTED'),
  bad('a space before the colon', signedIn('/v2/', 'X-A : 1'), 400, 'UNSUPPORTED'),
  bad('HTTP/9.9', 'GET /v2/ HTTP/9.9\r\nHost: docker.test\r\n\r\n', 400, 'UNSUPPORTED'),
  bad('HTTP/2 without asking', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 400, 'UNSUPPORTED'),
  bad('no Host', 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'UNSUPPORTED'),
  bad('two hosts', signedIn('/v2/', 'hOST: other.test'), 400, 'UNSUPPORTED'),
  bad('the same host twice', signedIn('/v2/', 'Host: docker.test'), 400, 'UNSUPPORTED'),
  bad(
    'another transfer coding',
    `${message('POST', '/token', 'Transfer-Encoding: gzip, chunked')}0\r\n\r\n`,
    400,
    'UNSUPPORTED',
  ),
  bad(
    'HTTP/1.0 with chunks',
    `POST /token HTTP/1.0\r\nHost: docker.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
    'UNSUPPORTED',
  ),
  bad('a TLS client', Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, 13, 10, 13, 10]), 400, 'UNSUPPORTED'),
  bad('garbage', Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 73) % 256)), 400, 'UNSUPPORTED'),
  bad('an expectation we do not know', signedIn('/v2/', 'Expect: tea'), 417, 'UNSUPPORTED'),
  { what: 'HTTP/1.0', bytes: `GET /v2/ HTTP/1.0\r\n${authorization}\r\n\r\n`, status: 200 },
  {
    what: 'HTTP/1.0 with a manifest',
    bytes: `GET /v2/app/manifests/1 HTTP/1.0\r\n${authorization}\r\n\r\n`,
    status: 200,
  },
  { what: 'an upgrade nobody offers', bytes: signedIn('/v2/', 'Upgrade: h2c, websocket'), status: 200 },
  { what: 'a GET with a body', bytes: `${signedIn('/v2/', 'Content-Length: 5')}hello`, status: 200 },
];

const forms: readonly Case[] = [
  bad(
    'JSON in place of a form',
    form('{"grant_type":"password"}', 'Content-Type: application/json'),
    401,
    'UNAUTHORIZED',
  ),
  bad(
    'multipart',
    form('--x\r\n\r\n--x--', 'Content-Type: multipart/form-data; boundary=x'),
    401,
    'UNAUTHORIZED',
  ),
  bad('an empty form', form(''), 401, 'UNAUTHORIZED'),
  bad('a broken form', form('%%%=&&&=%zz&scope'), 401, 'UNAUTHORIZED'),
  bad('bytes', form('\0\xff\xfe=\x01'), 401, 'UNAUTHORIZED'),
  bad('an unknown grant type', form('grant_type=authorization_code&code=x'), 405, 'UNSUPPORTED'),
  bad('an empty grant type', form('grant_type='), 405, 'UNSUPPORTED'),
  bad('a refresh token that is missing', form('grant_type=refresh_token'), 401, 'UNAUTHORIZED'),
  bad(
    'an unknown service',
    form('service=elsewhere.test&scope=repository:a:pull', authorization),
    403,
    'DENIED',
  ),
  bad(
    '1000 scopes',
    form(Array.from({ length: 1000 }, () => 'scope=a').join('&'), authorization),
    403,
    'DENIED',
  ),
  bad(
    '1000 scopes in a query',
    signedIn(`/token?${Array.from({ length: 1000 }, () => 'scope=a').join('&')}`),
    403,
    'DENIED',
  ),
  bad('a form of 70 kB', form(`scope=${'a'.repeat(70_000)}`, authorization), 413, 'SIZE_INVALID'),
  bad('PUT', message('PUT', '/token', 'Content-Length: 0'), 405, 'UNSUPPORTED'),
  {
    what: 'bad scopes are granted nothing',
    bytes: form('scope=%00+::::+repository::pull+repository:a:+*:*:*', authorization),
    status: 200,
  },
];

describe('bad input', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
  });

  async function assertServes(): Promise<void> {
    const answer = await front.sendAs('alice', '/v2/app/manifests/1');
    assert.equal(answer.status, 200, 'it serves afterwards');
    const unexpected = front.logLines().filter((line) => line.stack !== undefined);
    assert.deepEqual(unexpected, [], 'nothing failed unexpectedly');
  }

  for (const [group, cases] of Object.entries({ methods, targets, credentials, framing, forms })) {
    for (const { what, bytes, status, code } of cases) {
      test(`${group}: ${what}: ${status}`, async () => {
        const { messages, end, bytes: all } = await sendRaw(front.port, bytes);
        assert.notEqual(end, 'open', 'the connection is closed');
        assert.equal(messages.length, 1, all.toString('latin1').slice(0, 2000));
        const [answer] = messages;
        assert.equal(answer?.status, status, answer?.body);
        if (code !== undefined) {
          assert.equal(answer?.headers.get('content-type'), 'application/json');
          assertErrorBody(answer?.body ?? '', code);
        }
        await assertServes();
      });
    }
  }

  for (const [what, bytes] of [
    ['CONNECT', message('CONNECT', 'example.com:443')],
    ['nothing but line ends', '\r\n'.repeat(1000)],
  ] as const) {
    test(`${what}: no hang`, async () => {
      const { messages } = await sendRaw(front.port, bytes, { halfClose: true });
      for (const answer of messages) assert.ok(answer.status >= 400, `status ${answer.status}`);
      await assertServes();
    });
  }

  test('pipelined requests are answered in order', async () => {
    const one = (target: string, last = false) =>
      `GET ${target} HTTP/1.1\r\nHost: docker.test\r\n${authorization}\r\n${last ? 'Connection: close\r\n' : ''}\r\n`;
    const all =
      one('/v2/') +
      one('/v2/app/manifests/1') +
      one('/v2/app/manifests/2') +
      one('/nothing') +
      one('/v2/', true);
    const { messages } = await sendRaw(front.port, all);
    assert.deepEqual(
      messages.map(({ status }) => status),
      [200, 200, 404, 404, 200],
    );
  });

  test('a body that nobody reads does not become the next request', async () => {
    const inner = get('/v2/app/tags/list', authorization);
    const outer = `POST /v2/ HTTP/1.1\r\nHost: docker.test\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`;
    registry.forgetRequests();
    const { messages } = await sendRaw(front.port, outer);
    assert.deepEqual(
      messages.map(({ status }) => status),
      [405],
    );
    assert.deepEqual(registry.requests, []);
  });

  test('a body that nobody reads is not read to its end only to keep the connection', async () => {
    const head = `POST /v2/ HTTP/1.1\r\nHost: docker.test\r\nContent-Length: 1000000000\r\n\r\n`;
    const { messages, end } = await sendRaw(front.port, `${head}a`);
    assert.deepEqual(
      messages.map(({ status }) => status),
      [405],
    );
    assert.notEqual(end, 'open');
  });

  test('garbage behind a request does not get into its answer', async () => {
    const slow = registry.putBlob('app', Buffer.alloc(100_000, 'a'));
    registry.faults.add({ path: slow.digest }, { stallAfter: 50_000 }, 1);
    const good = `GET /v2/app/blobs/${slow.digest} HTTP/1.1\r\nHost: docker.test\r\n${authorization}\r\n\r\n`;
    const { bytes, end } = await sendRaw(front.port, good, { after: '\x16\x03\x01garbage\r\n\r\n' });
    assert.notEqual(end, 'open');
    const text = bytes.toString('latin1');
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4).replace(/^a*/, ''), '');
    await assertServes();
  });

  test('garbage behind a request is not taken for its answer', async () => {
    registry.faults.add({ path: '/manifests/slow' }, { delay: 200 }, 1);
    const good = `GET /v2/app/manifests/slow HTTP/1.1\r\nHost: docker.test\r\n${authorization}\r\n\r\n`;
    const { messages, end } = await sendRaw(front.port, `${good}garbage\r\n\r\n`);
    assert.notEqual(end, 'open');
    assert.deepEqual(messages, []);
    await assertServes();
  });

  test('a form that breaks off is no failure of ours', async () => {
    const broken = 'POST /token HTTP/1.1\r\nHost: docker.test\r\nContent-Length: 100\r\n\r\nscope=';
    await sendRaw(front.port, broken, { wait: 200 });
    await front.logLine((line) => line.event === 'token' && line.status === 499);
    await assertServes();
  });
});
