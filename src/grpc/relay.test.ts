import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { type ServedFront, serveCriFront } from '../../test/harness/served-front.js';
import { type CriAnswer, type CriCall, FakeCriRuntime } from '../testing/fake-cri-runtime.js';
import { type RawAnswer, RawGrpcClient, rawAnswer } from '../testing/raw-grpc-client.js';
import { frame } from './frames.js';

const list = '/runtime.v1.ImageService/ListImages';
const grpc = { ':status': 200, 'content-type': 'application/grpc' };
const withTrailers = { waitForTrailers: true, ...{ sendDate: false } };
const dateless: object = { sendDate: false };
const alone = { endStream: true, ...{ sendDate: false } };

type Respond = (call: CriCall, body?: Uint8Array) => void;

/** Headers, the messages and trailers, as grpc-go answers. */
const answered =
  (trailers: Record<string, string | string[]>, headers: Record<string, string | string[]> = {}): Respond =>
  ({ stream }, body = frame(Buffer.from('answer'))) => {
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.respond({ ...grpc, ...headers }, withTrailers);
    stream.end(body);
  };

const whenWhole =
  (respond: Respond): CriAnswer =>
  (call, whole) =>
    void whole.then(() => respond(call));

let runtime: FakeCriRuntime;
let served: ServedFront;
/** Our front before our front. */
let chained: ServedFront;
const clients: RawGrpcClient[] = [];

before(async () => {
  runtime = await FakeCriRuntime.start(() => {});
  served = await serveCriFront(runtime.path);
  chained = await serveCriFront(served.path);
});

after(async () => {
  await chained.close();
  await served.close();
  await runtime.close();
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  runtime.calls.length = 0;
});

function client(path: string): RawGrpcClient {
  const made = new RawGrpcClient(path);
  clients.push(made);
  return made;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.fail(`not so after 5 s: ${what}`);
}

/** Without what each hop writes for itself. */
const metadataOf = (raw: readonly string[]): readonly string[] => {
  const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? ''] as const] : []));
  return pairs
    .filter(([name]) => !name.startsWith(':') || name === ':path' || name === ':method')
    .map(([name, value]) => `${name}: ${value}`)
    .sort((a, b) => a.slice(0, a.indexOf(': ')).localeCompare(b.slice(0, b.indexOf(': '))));
};

describe('a relayed answer is the one that the runtime gives', () => {
  const message = frame(randomBytes(3000));
  const cases: Readonly<Record<string, CriAnswer>> = {
    ok: whenWhole(answered({ 'grpc-status': '0' })),
    'no message': whenWhole((call) => answered({ 'grpc-status': '0' })(call, Buffer.alloc(0))),
    'an empty message': whenWhole((call) => answered({ 'grpc-status': '0' })(call, frame(Buffer.alloc(0)))),
    'several messages': whenWhole((call) =>
      answered({ 'grpc-status': '0' })(call, Buffer.concat([message, message, message])),
    ),
    'a compressed message': whenWhole((call) =>
      answered({ 'grpc-status': '0' }, { 'grpc-encoding': 'gzip' })(
        call,
        Buffer.concat([Buffer.of(1), message.subarray(1)]),
      ),
    ),
    'an error in trailers': whenWhole(
      answered({ 'grpc-status': '2', 'grpc-message': 'failed to pull %E2%80%9Cx%E2%80%9D%0A' }),
    ),
    'status details': whenWhole(
      answered({ 'grpc-status': '9', 'grpc-message': 'a', 'grpc-status-details-bin': 'CAkSAWE' }),
    ),
    'repeated and binary metadata': whenWhole(
      answered(
        { 'grpc-status': '0', 'x-t': ['1', '2', '1'], 'x-t-bin': ['AAECAw', '/+8='] },
        { 'x-h': ['b', 'a', 'b'], 'x-h-bin': 'gIGC', 'x-latin': 'caf\xe9 \x80', 'x-empty': '' },
      ),
    ),
    'keys of odd names': whenWhole(answered({ 'grpc-status': '0', 'a.b_c-d!#$~': 'x', ['__proto__']: 'p' })),
    'many headers': whenWhole(
      answered({
        'grpc-status': '0',
        ...Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`x-${i}`, 'v'.repeat(100)])),
      }),
    ),
    'a message text of 40 KiB': whenWhole(
      answered({ 'grpc-status': '2', 'grpc-message': 'm'.repeat(40 * 1024) }),
    ),
    'headers alone': whenWhole(({ stream }) =>
      stream.respond(
        { ...grpc, 'grpc-status': '12', 'grpc-message': 'unknown method', x: ['1', '2'] },
        alone,
      ),
    ),
    'headers alone before the request is there': ({ stream }) =>
      stream.respond({ ...grpc, 'grpc-status': '7' }, alone),
    'an answer before the request is there': (call) => answered({ 'grpc-status': '3' })(call),
    'data and no trailers': whenWhole(({ stream }) => {
      stream.respond(grpc, dateless);
      stream.end(message);
    }),
    'no gRPC at all': whenWhole(({ stream }) => {
      stream.respond({ ':status': 503, 'content-type': 'text/plain' }, dateless);
      stream.end('upstream connect error');
    }),
    'another status and nothing else': whenWhole(({ stream }) => stream.respond({ ':status': 404 }, alone)),
    'a status that gRPC does not know': whenWhole(answered({ 'grpc-status': '99', 'grpc-message': 'x' })),
    'a long stream of messages': whenWhole(async ({ stream }) => {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.respond(grpc, withTrailers);
      for (let i = 0; i < 50; i++) {
        stream.write(frame(Buffer.alloc(40_000, i)));
        await sleep(1);
      }
      stream.end();
    }),
    'a date and a length': whenWhole(
      answered(
        { 'grpc-status': '0' },
        { date: 'Mon, 01 Jan 2024 00:00:00 GMT', 'content-length': '11', server: 'x' },
      ),
    ),
  };

  for (const [name, answer] of Object.entries(cases)) {
    test(name, async () => {
      const direct = await asked(runtime.path, answer);
      assert.ok(direct.headers.length > 0, 'the runtime has answered');
      assert.deepEqual(await asked(served.path, answer), direct, 'relayed');
      assert.deepEqual(await asked(chained.path, answer), direct, 'relayed twice');
    });
  }

  async function asked(path: string, answer: CriAnswer): Promise<RawAnswer> {
    runtime.answer = answer;
    return client(path).call(list, frame(Buffer.from('request')));
  }
});

describe('a relayed request is the one that the client sends', () => {
  const cases: Readonly<Record<string, Record<string, string | string[]>>> = {
    'what grpc-go sends': {
      'user-agent': 'grpc-go/1.59.0',
      'grpc-timeout': '120S',
      'grpc-accept-encoding': 'gzip',
    },
    'repeated and binary metadata': { 'x-a': ['2', '1', '2'], 'x-b-bin': ['AAEC', '/+8='], 'x-c': '' },
    'tracing and authority': {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      host: 'a.b',
    },
    'bytes that are no text': { 'x-l': '\xff\x80 \xe9' },
    'a timeout that cannot be read': { 'grpc-timeout': '1 day' },
  };
  for (const [name, headers] of Object.entries(cases)) {
    test(name, async () => {
      runtime.answer = whenWhole(answered({ 'grpc-status': '0' }));
      const body = frame(randomBytes(100_000));
      for (const path of [runtime.path, served.path, chained.path])
        await client(path).call(list, body, headers);
      const [direct, ...relayed] = runtime.calls;
      assert.equal(relayed.length, 2, 'all calls came');
      for (const call of relayed) {
        assert.deepEqual(metadataOf(call.rawHeaders), metadataOf(direct?.rawHeaders ?? []));
        assert.ok(call.body.equals(body), 'its bytes');
        assert.ok(call.rawHeaders.join(' ').includes(':authority localhost'), 'an authority that all accept');
      }
    });
  }

  test('a key that Node sends once only has its values joined', async () => {
    // A client of Node cannot send it twice either; the front is handed what another one sends.
    const { sentOn } = await import('./raw-headers.js');
    const raw = ['authorization', 'a', 'x', '1', 'authorization', 'b', 'te', 'gzip', 'connection', 'close'];
    assert.deepEqual({ ...sentOn(raw) }, { authorization: 'a,b', x: '1' });
  });

  test('a request that is not ended is answered, and is left then', async () => {
    runtime.answer = (call) => answered({ 'grpc-status': '3' })(call);
    const stream = client(served.path).begin(list);
    const answer = rawAnswer(stream);
    stream.write(frame(Buffer.from('first')));
    assert.deepEqual((await answer).trailers, ['grpc-status', '3']);
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
  });

  test('both sides may speak in turn', async () => {
    runtime.answer = ({ stream }, whole) => {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.respond(grpc, withTrailers);
      stream.on('data', (chunk: Buffer) => stream.write(chunk));
      void whole.then(() => stream.end());
    };
    const stream = client(served.path).begin('/runtime.v1.ImageService/Talk');
    const answer = rawAnswer(stream);
    for (const word of ['one', 'two', 'three']) {
      stream.write(frame(Buffer.from(word)));
      await once(stream, 'data');
    }
    stream.end();
    const { body, trailers } = await answer;
    assert.deepEqual(body, Buffer.concat(['one', 'two', 'three'].map((word) => frame(Buffer.from(word)))));
    assert.deepEqual(trailers, ['grpc-status', '0']);
  });
});

test('any metadata and any bytes pass unchanged', async () => {
  const key = fc
    .stringMatching(/^[a-z0-9_.!#$~-]{1,20}$/)
    .filter(
      (name) => !/^(?:te|host|connection|upgrade|keep-alive|date|etag|age|from|tk|dnt|range)$/.test(name),
    )
    .map((name) => `x${name}`);
  const value = fc.stringMatching(/^[!-~\u00a1-\u00ff](?:[ -~\u00a1-\u00ff]{0,60}[!-~\u00a1-\u00ff])?$/);
  const metadata = fc.dictionary(key, fc.oneof(value, fc.array(value, { minLength: 2, maxLength: 4 })), {
    maxKeys: 8,
  });
  const [direct, relayed] = [client(runtime.path), client(served.path)];
  const property = fc.asyncProperty(
    metadata,
    metadata,
    metadata,
    fc.uint8Array({ maxLength: 5000 }),
    fc.uint8Array({ maxLength: 5000 }),
    async (sent, headers, trailers, request, response) => {
      runtime.calls.length = 0;
      runtime.answer = whenWhole((call) =>
        answered({ ...trailers, 'grpc-status': '0' }, headers)(call, response),
      );
      const one = await direct.call(list, request, sent);
      const other = await relayed.call(list, request, sent);
      assert.deepEqual(other, one, 'the answers');
      const [first, second] = runtime.calls;
      assert.deepEqual(
        metadataOf(second?.rawHeaders ?? []),
        metadataOf(first?.rawHeaders ?? []),
        'the metadata',
      );
      assert.ok(second?.body.equals(Buffer.from(request)), 'the bytes');
    },
  );
  await fc.assert(property, { numRuns: 100 });
});

describe('calls that the runtime does not answer', () => {
  const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } =
    constants;
  const { NGHTTP2_PROTOCOL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_INADEQUATE_SECURITY } = constants;
  const resets: readonly (readonly [code: number, status: string, says: RegExp])[] = [
    [NGHTTP2_REFUSED_STREAM, '14', /reset a call: REFUSED_STREAM/],
    [NGHTTP2_CANCEL, '1', /reset a call: CANCEL/],
    [NGHTTP2_INTERNAL_ERROR, '13', /reset a call: INTERNAL_ERROR/],
    [NGHTTP2_PROTOCOL_ERROR, '13', /reset a call: PROTOCOL_ERROR/],
    [NGHTTP2_ENHANCE_YOUR_CALM, '8', /reset a call: ENHANCE_YOUR_CALM/],
    [NGHTTP2_INADEQUATE_SECURITY, '7', /reset a call: INADEQUATE_SECURITY/],
    [NGHTTP2_NO_ERROR, '13', /ended a call without an answer/],
  ];
  for (const [code, status, says] of resets) {
    test(`a reset with code ${code} is status ${status}, in headers alone`, async () => {
      runtime.answer = whenWhole(({ stream }) => stream.close(code));
      const answer = await client(served.path).call(list, frame(Buffer.alloc(0)));
      assert.equal(answer.isHeadersAlone, true, 'headers alone');
      assertStatus(answer.headers, status, says);
    });

    // Without an error it is an answer without trailers, and passes as such.
    if (code === NGHTTP2_NO_ERROR) continue;
    test(`a reset with code ${code} after the first bytes is status ${status}, in trailers`, async () => {
      const answer = await brokenInside(({ stream }) => stream.close(code));
      assert.equal(answer.body.toString(), 'half', 'what came passes');
      assertStatus(answer.trailers, status, says);
    });
  }

  for (const [name, broken] of Object.entries({
    'before the answer': () => {
      runtime.answer = whenWhole(() => runtime.cut());
      return client(served.path).call(list, frame(Buffer.alloc(0)));
    },
    'in the answer': () => brokenInside(() => runtime.cut()),
    'in the answer, by a runtime that says goodbye': () =>
      brokenInside(({ stream }) => stream.session?.destroy()),
  })) {
    test(`a connection that is lost ${name} is Unavailable`, async () => {
      const { headers, trailers, isHeadersAlone } = await broken();
      assertStatus(
        isHeadersAlone ? headers : trailers,
        '14',
        /connection to the container runtime at unix:\/\/\/\S+ was lost/,
      );
    });
  }

  test('a runtime that is not there is Unavailable, after its patience', async () => {
    const absent = await serveCriFront('/nonexistent/drp.sock', { patience: 150 });
    try {
      const { headers } = await client(absent.path).call(list, frame(Buffer.alloc(0)));
      assertStatus(
        headers,
        '14',
        /^the container runtime at unix:\/\/\/nonexistent\/drp\.sock cannot be reached: ENOENT/,
      );
    } finally {
      await absent.close();
    }
  });

  /** Breaks an answer as soon as the client has seen its first bytes. */
  async function brokenInside(breakIt: (call: CriCall) => void): Promise<RawAnswer> {
    let breakNow = () => {};
    runtime.answer = whenWhole((call) => {
      breakNow = () => breakIt(call);
      call.stream.respond(grpc, withTrailers);
      call.stream.write(Buffer.from('half'));
    });
    const stream = client(served.path).begin(list);
    const answer = rawAnswer(stream);
    stream.end(frame(Buffer.alloc(0)));
    await once(stream, 'data');
    breakNow();
    return answer;
  }

  function assertStatus(raw: readonly string[], status: string, says: RegExp): void {
    assert.equal(raw[raw.indexOf('grpc-status') + 1], status, raw.join(' '));
    const message = decodeURIComponent(raw[raw.indexOf('grpc-message') + 1] ?? '');
    assert.match(message, says);
    assert.doesNotMatch(message, /\n/, 'one line');
  }
});

describe('deadlines', () => {
  const silent: CriAnswer = () => {};

  test('a client that does not expire by itself is told, and the runtime is left', async () => {
    runtime.answer = silent;
    const answer = await client(served.path).call(list, frame(Buffer.alloc(0)), { 'grpc-timeout': '1m' });
    assert.equal(answer.headers[answer.headers.indexOf('grpc-status') + 1], '4', answer.headers.join(' '));
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
  });

  test('in trailers, where the answer has begun', async () => {
    runtime.answer = ({ stream }) => {
      stream.respond(grpc, withTrailers);
      stream.write(Buffer.from('half'));
    };
    const answer = await client(served.path).call(list, frame(Buffer.alloc(0)), { 'grpc-timeout': '1S' });
    assert.equal(answer.trailers[answer.trailers.indexOf('grpc-status') + 1], '4', answer.trailers.join(' '));
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
  });

  test('also while it waits for a runtime', async () => {
    const absent = await serveCriFront('/nonexistent/drp.sock', { patience: 60_000 });
    try {
      const { headers } = await client(absent.path).call(list, frame(Buffer.alloc(0)), {
        'grpc-timeout': '50000u',
      });
      assert.equal(headers[headers.indexOf('grpc-status') + 1], '4', headers.join(' '));
    } finally {
      await absent.close();
    }
  });
});

describe('clients that go', () => {
  test('300 cancellations leave no stream open', async () => {
    runtime.answer = ({ stream }) => {
      stream.respond(grpc, withTrailers);
      stream.write(Buffer.from('half'));
    };
    const one = client(served.path);
    await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const stream = one.begin(list);
        stream.write(frame(Buffer.from('request')));
        if (i % 3 === 0) await once(stream, 'response');
        if (i % 3 === 1) await sleep(i % 20);
        const closed = once(stream, 'close');
        stream.close(constants.NGHTTP2_CANCEL);
        await closed;
      }),
    );
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
    assert.ok(
      runtime.calls.every(({ stream }) => stream.rstCode === constants.NGHTTP2_CANCEL),
      'each was cancelled at the runtime',
    );
  });

  test('one whose connection is cut is left at the runtime too', async () => {
    runtime.answer = () => {};
    const one = client(served.path);
    one.begin(list).write(frame(Buffer.from('request')));
    await until('it came', () => runtime.openStreams === 1);
    one.cut();
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
  });

  test('one that goes while it waits for a runtime is forgotten', async () => {
    const absent = await serveCriFront('/nonexistent/drp.sock', { patience: 60_000 });
    try {
      const stream = client(absent.path).begin(list);
      await until('it came', () => absent.openStreams() === 1);
      stream.close(constants.NGHTTP2_CANCEL);
      await until('no stream is open', () => absent.openStreams() === 0);
    } finally {
      await absent.close();
    }
  });
});

describe('large messages', () => {
  const size = 15 * 1024 * 1024;

  // One direction after the other: two sessions of Node that both write more than their socket takes wait for each
  // other, for neither reads while it writes. Clients and runtimes in Go read all the time.
  test('20 requests of 15 MiB at once', async () => {
    const message = frame(randomBytes(size));
    let whole = 0;
    runtime.answer = whenWhole((call) => {
      if (call.body.equals(message)) whole += 1;
      answered({ 'grpc-status': '0' })(call);
    });
    const one = client(served.path);
    await Promise.all(Array.from({ length: 20 }, () => one.call(list, message)));
    assert.equal(whole, 20, 'the requests are whole');
  });

  test('4 answers of 15 MiB at once', async () => {
    const message = frame(randomBytes(size));
    runtime.answer = whenWhole((call) => answered({ 'grpc-status': '0' })(call, message));
    const one = client(served.path);
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => one.call(list, frame(Buffer.alloc(0)))),
    );
    for (const { body, trailers } of answers) {
      assert.ok(body.equals(message), 'the answer is whole');
      assert.deepEqual(trailers, ['grpc-status', '0']);
    }
  });

  test('a client that reads slowly gets all, and holds nobody else back', async () => {
    const message = frame(randomBytes(size));
    let written = 0;
    runtime.answer = whenWhole(({ stream, path }) => {
      if (!path.endsWith('Slow')) return answered({ 'grpc-status': '0' })({ stream } as CriCall);
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-last': 'y' }));
      stream.respond(grpc, withTrailers);
      const write = (from: number): void => {
        if (from >= message.length) return void stream.end();
        const piece = message.subarray(from, from + 65_536);
        written += piece.length;
        if (stream.write(piece)) write(from + piece.length);
        else stream.once('drain', () => write(from + piece.length));
      };
      write(0);
    });
    const one = client(served.path);
    const stream = one.begin('/runtime.v1.ImageService/Slow');
    stream.end(frame(Buffer.alloc(0)));
    await once(stream, 'response');
    stream.pause();
    for (let i = 0; i < 20; i++) {
      const { trailers } = await one.call(list, frame(Buffer.alloc(0)));
      assert.deepEqual(trailers, ['grpc-status', '0'], 'others are served');
    }
    assert.ok(written < size / 2, `the runtime is held back too: ${written} bytes were taken`);
    const answer = rawAnswer(stream);
    stream.resume();
    const { body, trailers } = await answer;
    assert.ok(body.equals(message), 'all of it');
    assert.deepEqual(trailers, ['grpc-status', '0', 'x-last', 'y']);
  });
});

describe('grpc-js as a client', () => {
  const bytes = (value: Buffer) => value;

  test('gets messages, metadata, details and codes', async () => {
    runtime.answer = whenWhole((call) =>
      call.path.endsWith('Fails')
        ? answered({ 'grpc-status': '2', 'grpc-message': 'no%20way', 'x-why-bin': 'AAEC' })(
            call,
            Buffer.alloc(0),
          )
        : answered({ 'grpc-status': '0' }, { 'x-h': 'h' })(call),
    );
    const one = new Client(`unix://${served.path}`, credentials.createInsecure());
    try {
      const ask = (path: string) =>
        new Promise<{ value?: Buffer | undefined; error?: unknown }>((resolve) => {
          one.makeUnaryRequest(path, bytes, bytes, Buffer.from('q'), new Metadata(), (error, value) =>
            resolve({ value, error }),
          );
        });
      assert.equal((await ask(list)).value?.toString(), 'answer');
      const { error } = await ask('/runtime.v1.ImageService/Fails');
      const { code, details, metadata } = error as { code: number; details: string; metadata: Metadata };
      assert.deepEqual([code, details, metadata.get('x-why-bin')], [2, 'no way', [Buffer.of(0, 1, 2)]]);
    } finally {
      one.close();
    }
  });

  test('streams', async () => {
    runtime.answer = whenWhole((call) =>
      answered({ 'grpc-status': '0' })(
        call,
        Buffer.concat(['a', 'b', 'c'].map((x) => frame(Buffer.from(x)))),
      ),
    );
    const one = new Client(`unix://${served.path}`, credentials.createInsecure());
    try {
      const got: string[] = [];
      const call = one.makeServerStreamRequest(
        '/runtime.v1.ImageService/StreamImages',
        bytes,
        bytes,
        Buffer.from('q'),
      );
      for await (const message of call) got.push(String(message));
      assert.deepEqual(got, ['a', 'b', 'c']);
    } finally {
      one.close();
    }
  });
});
