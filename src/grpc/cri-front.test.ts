import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:http2';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type ServedFront, serveCriFront, unchangedPulls } from '../../test/harness/served-front.js';
import { CredentialRules } from '../image-service/credential-rules.js';
import type { AttemptOptions, PullOutcome } from '../image-service/pull-attempt.js';
import { PullRegister } from '../image-service/pull-register.js';
import type { PullRequest } from '../image-service/pull-request.js';
import { PullService } from '../image-service/pull-service.js';
import { parseImagePattern } from '../settings/image-pattern.js';
import { FakeClock } from '../testing/fake-clock.js';
import { basicCredential, FakeCredentialSource } from '../testing/fake-credential-source.js';
import { type CriAnswer, type CriCall, FakeCriRuntime } from '../testing/fake-cri-runtime.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { RawGrpcClient, rawAnswer } from '../testing/raw-grpc-client.js';
import { AuthConfigSchema, PullImageRequestSchema, PullImageResponseSchema } from './cri/runtime_pb.js';
import type { CriFrontParts } from './cri-front.js';
import { frame } from './frames.js';

const pullImage = '/runtime.v1.ImageService/PullImage';
const image = 'docker.example.com/team/app:1';
const asked = create(PullImageRequestSchema, {
  image: { image, annotations: { team: 'a' } },
  sandboxConfig: { metadata: { name: 'app-1', namespace: 'shop', uid: 'u-1' } },
});
/** With a field that we do not know, as a later kubelet may send. */
const bytes = Buffer.concat([
  toBinary(PullImageRequestSchema, asked),
  new BinaryWriter().tag(77, WireType.LengthDelimited).string('later').finish(),
]);
const pulled = frame(
  toBinary(PullImageResponseSchema, create(PullImageResponseSchema, { imageRef: 'sha256:1' })),
);
const grpc = { ':status': 200, 'content-type': 'application/grpc' };
const withTrailers = { waitForTrailers: true };
const secret = 'not-for-anyone-5b21';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface World {
  readonly runtime: FakeCriRuntime;
  readonly served: ServedFront;
  readonly client: RawGrpcClient;
}

async function open(answer: CriAnswer, pulls?: CriFrontParts['pulls']): Promise<World> {
  const runtime = await FakeCriRuntime.start(answer);
  closing.push(() => runtime.close());
  const served = await serveCriFront(runtime.path, pulls ? { pulls } : {});
  closing.push(() => served.close());
  const client = new RawGrpcClient(served.path);
  closing.push(() => client.close());
  return { runtime, served, client };
}

const whenWhole =
  (respond: (call: CriCall) => void): CriAnswer =>
  (call, whole) =>
    void whole.then(() => respond(call));

const end = ({ stream }: CriCall, trailers: Record<string, string>, body: Uint8Array = pulled) => {
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.respond(grpc, withTrailers);
  stream.end(body);
};
const fine = whenWhole((call) => end(call, { 'grpc-status': '0' }));

/** Keeps what was asked, and shows this credential. */
function showing(o: Partial<AttemptOptions> = {}, advice?: string) {
  const requests: PullRequest[] = [];
  const outcomes: PullOutcome<unknown>[] = [];
  const pulls: CriFrontParts['pulls'] = {
    pull: async (request, attempt, { signal }) => {
      requests.push(request);
      const outcome = await attempt({ signal, onProgress: () => {}, ...o });
      outcomes.push(outcome);
      return { outcome, ...(advice !== undefined && { advice }) };
    },
  };
  return { requests, outcomes, pulls };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.fail(`not so after 5 s: ${what}`);
}

const messageOf = (raw: readonly string[]) => decodeURIComponent(raw[raw.indexOf('grpc-message') + 1] ?? '');

describe('a pull without a credential of its own', () => {
  test('gets one at its end, and is otherwise what it was', async () => {
    const credential = basicCredential('robot', secret);
    const { requests, outcomes, pulls } = showing({ credential });
    const { runtime, served, client } = await open(fine, pulls);
    const answer = await client.call(pullImage, frame(bytes), {
      'x-a': ['2', '1'],
      'user-agent': 'grpc-go/1',
    });
    assert.ok(answer.body.equals(pulled), 'the answer as it came');
    const [call] = runtime.calls;
    assert.ok(call !== undefined, 'it came');
    assert.ok(call.body.subarray(5, 5 + bytes.length).equals(bytes), 'the message as it came');
    const sent = fromBinary(PullImageRequestSchema, call.body.subarray(5));
    assert.deepEqual(
      sent.auth,
      create(AuthConfigSchema, {
        username: 'robot',
        password: secret,
        serverAddress: 'https://docker.example.com',
      }),
    );
    assert.equal(call.body.readUInt32BE(1), call.body.length - 5, 'the prefix says its length');
    assert.match(call.rawHeaders.join(' '), /x-a 2 x-a 1/, 'metadata');
    assert.deepEqual(requests, [
      {
        image,
        pod: { namespace: 'shop', name: 'app-1', uid: 'u-1' },
        annotations: new Map([['team', 'a']]),
        hasOwnCredential: false,
      },
    ]);
    assert.equal(outcomes[0]?.ok === true && outcomes[0].imageRef, 'sha256:1', 'the image is told');
    assert.doesNotMatch(served.log.text, new RegExp(secret), 'no secret in the log');
  });

  test('goes on as it came where there is none for it', async () => {
    const { runtime, client } = await open(fine);
    await client.call(pullImage, frame(bytes));
    assert.ok(runtime.calls[0]?.body.equals(frame(bytes)), 'byte for byte');
  });

  test('docker.io has another host', async () => {
    const { pulls } = showing({ credential: basicCredential('u', 'p') });
    const { runtime, client } = await open(fine, pulls);
    const message = create(PullImageRequestSchema, { image: { image: 'docker.io/library/busybox' } });
    await client.call(pullImage, frame(toBinary(PullImageRequestSchema, message)));
    const sent = fromBinary(PullImageRequestSchema, runtime.calls[0]?.body.subarray(5) ?? Buffer.of());
    assert.equal(sent.auth?.serverAddress, 'https://registry-1.docker.io');
  });
});

describe("kubelet's own credential is passed on byte for byte", () => {
  const cases = {
    'a password': { username: 'k', password: 'p' },
    base64: { auth: 'azpw' },
    'an empty one': {},
  };
  for (const [name, auth] of Object.entries(cases)) {
    test(name, async () => {
      const { requests, pulls } = showing();
      const { runtime, client } = await open(fine, pulls);
      const own = toBinary(
        PullImageRequestSchema,
        create(PullImageRequestSchema, { ...asked, auth: create(AuthConfigSchema, auth) }),
      );
      await client.call(pullImage, frame(own));
      assert.ok(runtime.calls[0]?.body.equals(frame(own)), 'byte for byte');
      assert.equal(requests[0]?.hasOwnCredential, true, 'and known as such');
    });
  }
});

describe('messages that are read with care', () => {
  const gzipped = (message: Uint8Array) => {
    const framed = frame(gzipSync(message));
    framed.writeUInt8(1, 0);
    return framed;
  };
  const compressed = (message: Uint8Array) => {
    const framed = frame(message);
    framed.writeUInt8(1, 0);
    return framed;
  };
  const large = new BinaryWriter()
    .tag(78, WireType.LengthDelimited)
    .bytes(Buffer.alloc(17 * 1024 * 1024))
    .finish();
  const unread: Readonly<Record<string, readonly [body: Buffer, encoding: string]>> = {
    'no PullImageRequest': [frame(Buffer.from('ffffffff', 'hex')), 'identity'],
    'cut in a field': [frame(bytes.subarray(0, bytes.length - 2)), 'identity'],
    'a text that is no UTF-8': [frame(Buffer.from('0a040a02c328', 'hex')), 'identity'],
    'compressed in another way': [compressed(bytes), 'snappy'],
    'compressed, and not said how': [compressed(bytes), ''],
    'gzip that is none': [compressed(bytes), 'gzip'],
    'a bomb': [gzipped(Buffer.concat([bytes, large])), 'gzip'],
  };
  for (const [name, [body, encoding]] of Object.entries(unread)) {
    test(`${name}: relayed unchanged, with a warning`, async () => {
      const { requests, pulls } = showing({ credential: basicCredential('robot', secret) });
      const { runtime, served, client } = await open(fine, pulls);
      const answer = await client.call(pullImage, body, encoding === '' ? {} : { 'grpc-encoding': encoding });
      assert.ok(answer.body.equals(pulled), 'answered by the runtime');
      assert.ok(runtime.calls[0]?.body.equals(body), 'byte for byte');
      assert.deepEqual(requests, []);
      assert.equal(served.log.at('warn').length, 1, served.log.text);
      assert.equal(served.metrics.value('pull_requests_unread_total'), 1);
    });
  }

  test('gzip is read, and sent uncompressed with a credential', async () => {
    const { requests, pulls } = showing({ credential: basicCredential('robot', secret) });
    const { runtime, client } = await open(fine, pulls);
    await client.call(pullImage, gzipped(bytes), { 'grpc-encoding': 'gzip' });
    assert.equal(requests[0]?.image, image);
    const body = runtime.calls[0]?.body ?? Buffer.of();
    assert.equal(body[0], 0, 'not compressed');
    assert.equal(fromBinary(PullImageRequestSchema, body.subarray(5)).auth?.password, secret);
  });

  test('gzip without a credential goes on as it came', async () => {
    const { runtime, client } = await open(fine);
    await client.call(pullImage, gzipped(bytes), { 'grpc-encoding': 'gzip' });
    assert.ok(runtime.calls[0]?.body.equals(gzipped(bytes)), 'byte for byte');
  });

  test('an answer in gzip is understood, and passes as it came', async () => {
    const { outcomes, pulls } = showing();
    const body = gzipped(pulled.subarray(5));
    const { client } = await open(
      whenWhole(({ stream }) => {
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.respond({ ...grpc, 'grpc-encoding': 'gzip' }, withTrailers);
        stream.end(body);
      }),
      pulls,
    );
    assert.ok((await client.call(pullImage, frame(bytes))).body.equals(body), 'as it came');
    assert.equal(outcomes[0]?.ok === true && outcomes[0].imageRef, 'sha256:1');
  });

  const refused: Readonly<Record<string, readonly [body: Buffer, status: string]>> = {
    'more than 16 MiB': [frame(Buffer.alloc(16 * 1024 * 1024 + 1)), '8'],
    nothing: [Buffer.alloc(0), '13'],
    'cut short': [frame(bytes).subarray(0, 20), '13'],
    'two messages': [Buffer.concat([frame(bytes), frame(bytes)]), '13'],
  };
  for (const [name, [body, status]] of Object.entries(refused)) {
    test(`${name} is status ${status}`, async () => {
      const { runtime, client } = await open(fine);
      const { headers } = await client.call(pullImage, body);
      assert.equal(headers[headers.indexOf('grpc-status') + 1], status, headers.join(' '));
      assert.deepEqual(runtime.calls, []);
    });
  }
});

describe('what a pull came to', () => {
  const said = 'failed to pull and unpack image "docker.example.com/x": not found';
  const cases: Readonly<
    Record<string, readonly [answer: CriAnswer, status: number, fault: string, said: RegExp | string]>
  > = {
    'an error in trailers': [
      whenWhole((call) => end(call, { 'grpc-status': '5', 'grpc-message': encodeURI(said) }, Buffer.of())),
      5,
      'not found',
      said,
    ],
    'an error in headers alone': [
      whenWhole(({ stream }) =>
        stream.respond({ ...grpc, 'grpc-status': '2', 'grpc-message': 'a%0Ab' }, { endStream: true }),
      ),
      2,
      'other',
      'a b',
    ],
    'no gRPC': [
      whenWhole(({ stream }) => {
        stream.respond({ ':status': 503, 'content-type': 'text/html' });
        stream.end('<h1>no</h1>');
      }),
      14,
      'runtime',
      /^HTTP status 503 without a gRPC status$/,
    ],
    'a runtime that resets': [
      whenWhole(({ stream }) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)),
      13,
      'other',
      /reset a call: INTERNAL_ERROR$/,
    ],
    'an answer without end': [
      whenWhole(({ stream }) => {
        stream.respond(grpc, withTrailers);
        stream.write(Buffer.alloc(1024 * 1024 + 1));
      }),
      8,
      'other',
      /more than 1 MiB$/,
    ],
  };
  for (const [name, [answer, status, fault, says]] of Object.entries(cases)) {
    test(name, async () => {
      const { outcomes, pulls } = showing();
      const { client } = await open(answer, pulls);
      await client.call(pullImage, frame(bytes));
      const [outcome] = outcomes;
      assert.ok(outcome !== undefined && !outcome.ok, 'a failure');
      assert.equal(outcome.status, status);
      if (typeof says === 'string') assert.equal(outcome.said, says);
      else assert.match(outcome.said, says);
      assert.equal(outcome.fault, fault);
    });
  }

  test('an error is told as the runtime tells it, with the advice at its end', async () => {
    const { pulls } = showing({}, 'add a rule');
    const prefixed = 'RegistryUnavailable: it is down';
    const { client } = await open(
      whenWhole((call) =>
        end(call, { 'grpc-status': '2', 'grpc-message': prefixed, 'x-more-bin': 'AAEC' }, Buffer.of()),
      ),
      pulls,
    );
    const { trailers } = await client.call(pullImage, frame(bytes));
    assert.equal(messageOf(trailers), `${prefixed}; kubelet-image-service: add a rule`);
    assert.match(trailers.join(' '), /x-more-bin AAEC/);
  });

  describe('nothing of a credential of ours is told, nor a signed URL', () => {
    const password = 'pa"ss/wo rd-5b21';
    const basic = Buffer.from(`robot:${password}`).toString('base64');
    const said =
      'RegistryUnavailable: 403 Forbidden:\n' +
      `"no access for Basic ${basic} (robot:${password})" ${encodeURIComponent(password)} ` +
      `${JSON.stringify(password)} Get "https://s3.example.com/b?X-Amz-Signature=5b21": EOF`;
    const told =
      'RegistryUnavailable: 403 Forbidden:\n"no access for Basic [secret] (robot:[secret])" [secret] ' +
      '"[secret]" Get "https://s3.example.com/b?…": EOF';
    const status = (message: string) =>
      new BinaryWriter()
        .tag(1, WireType.Varint)
        .int32(2)
        .tag(2, WireType.LengthDelimited)
        .string(message)
        .finish();
    const failing = whenWhole((call) => {
      const details = Buffer.from(status(said)).toString('base64');
      const message = said.replace(/[\n%]/g, (sign) => encodeURIComponent(sign));
      const trailers = { 'grpc-status': '2', 'grpc-message': message, 'grpc-status-details-bin': details };
      end(call, trailers, Buffer.of());
    });
    const credential = basicCredential('robot', password);

    for (const [what, advice, added] of [
      ['without advice', undefined, ''],
      ['with advice', 'ask them', '; kubelet-image-service: ask them'],
    ] as const) {
      test(what, async () => {
        const { client } = await open(failing, showing({ credential }, advice).pulls);
        const { trailers } = await client.call(pullImage, frame(bytes));
        assert.equal(messageOf(trailers), `${told}${added}`);
        const details = Buffer.from(
          trailers[trailers.indexOf('grpc-status-details-bin') + 1] ?? '',
          'base64',
        );
        assert.ok(details.equals(status(`${told}${added}`)), String(details));
      });
    }

    test('but what we did not show passes as it came', async () => {
      const { client } = await open(failing, showing().pulls);
      const { trailers } = await client.call(pullImage, frame(bytes));
      assert.equal(messageOf(trailers), said);
    });

    test('and a text that holds none passes byte for byte', async () => {
      const odd = {
        'grpc-status': '2',
        'grpc-message': 'no %e2%80%9cway%zz',
        'grpc-status-details-bin': 'EgFh',
      };
      const answer = whenWhole((call) => end(call, odd, Buffer.of()));
      const { client } = await open(answer, showing({ credential }).pulls);
      const { trailers } = await client.call(pullImage, frame(bytes));
      assert.deepEqual(trailers, Object.entries(odd).flat());
    });

    test('a long one is not cut shorter than it was', async () => {
      const long = `${'x'.repeat(6_000)}${basic}${'y'.repeat(6_000)}`;
      const answer = whenWhole((call) =>
        end(call, { 'grpc-status': '2', 'grpc-message': long }, Buffer.of()),
      );
      const { client } = await open(answer, showing({ credential }).pulls);
      const { trailers } = await client.call(pullImage, frame(bytes));
      assert.equal(messageOf(trailers), long.replace(basic, '[secret]'));
    });
  });

  test("kubelet's own credential is told by the runtime as it likes, and not by us", async () => {
    const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
    const register = new PullRegister({ clock });
    const events: unknown[] = [];
    const audit = { record: (event: unknown) => void events.push(event) };
    const rules = new CredentialRules([]);
    const pulls = new PullService({ rules, register, clock, log, metrics, audit, credentialTimeout: 1000 });
    const text = Buffer.from(`k:${secret}-auth`).toString('base64');
    const auth = create(AuthConfigSchema, {
      ...{ username: 'k', password: `${secret}-password`, auth: text },
      ...{ identityToken: `${secret}-identity`, registryToken: `${secret}-registry` },
    });
    const pair = Buffer.from(`k:${secret}-password`).toString('base64');
    const said = ['password', 'auth', 'identity', 'registry'].map((one) => `${secret}-${one}`).join(' ');
    const whole = `no: ${said} ${text} ${pair}`;
    const { client } = await open(
      whenWhole((call) => end(call, { 'grpc-status': '2', 'grpc-message': whole }, Buffer.of())),
      pulls,
    );
    const own = toBinary(PullImageRequestSchema, create(PullImageRequestSchema, { ...asked, auth }));
    const { trailers } = await client.call(pullImage, frame(own));
    assert.equal(messageOf(trailers), whole, 'to kubelet as it came');
    const ours = [log.text, JSON.stringify(events), JSON.stringify(register.snapshot())].join('\n');
    assert.match(ours, /no: \[secret\]/, 'it is told');
    for (const one of [secret, text, pair]) assert.ok(!ours.includes(one), `${one} in ${ours}`);
  });

  test('a length that the client has named is not that of what we send', async () => {
    const { pulls } = showing({ credential: basicCredential('robot', secret) });
    const { runtime, client } = await open(fine, pulls);
    const body = frame(bytes);
    const length = { 'content-length': String(body.length) };
    assert.deepEqual((await client.call(pullImage, body, length)).trailers, ['grpc-status', '0']);
    const unread = frame(Buffer.from('ffffffff', 'hex'));
    await client.call(pullImage, unread, { 'content-length': String(unread.length) });
    assert.equal(runtime.calls.length, 2, 'both came');
  });

  test('an answer in the smallest pieces is put together', async () => {
    const answer = whenWhole(({ stream }) => {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.respond(grpc, withTrailers);
      for (const byte of pulled) stream.write(Buffer.of(byte));
      stream.end();
    });
    const { client } = await open(answer);
    assert.ok((await client.call(pullImage, frame(bytes))).body.equals(pulled), 'all of it');
  });

  test('success is told without any', async () => {
    const { pulls } = showing({}, 'add a rule');
    const { client } = await open(fine, pulls);
    assert.deepEqual((await client.call(pullImage, frame(bytes))).trailers, ['grpc-status', '0']);
  });

  test('a call that is refused unseen is sent once more, and only once', async () => {
    const { runtime, client } = await open((call, whole) => {
      if (runtime.calls.length === 1) call.stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else return fine(call, whole);
    });
    assert.deepEqual((await client.call(pullImage, frame(bytes))).trailers, ['grpc-status', '0']);
    assert.equal(runtime.calls.length, 2);
    runtime.answer = ({ stream }) => stream.close(constants.NGHTTP2_REFUSED_STREAM);
    const { headers } = await client.call(pullImage, frame(bytes));
    assert.equal(headers[headers.indexOf('grpc-status') + 1], '14');
    assert.equal(runtime.calls.length, 4);
  });

  test('a runtime that is killed in mid-pull is Unavailable; the next pull waits for the new one', async () => {
    const { runtime, client } = await open(() => {});
    const answer = client.call(pullImage, frame(bytes));
    await until('it came', () => runtime.openStreams === 1);
    await runtime.kill();
    const { headers } = await answer;
    assert.equal(headers[headers.indexOf('grpc-status') + 1], '14');
    assert.match(messageOf(headers), /was lost before it answered/);
    const next = client.call(pullImage, frame(bytes));
    runtime.answer = fine;
    await runtime.listen();
    assert.deepEqual((await next).trailers, ['grpc-status', '0']);
  });

  test('a fault of ours leaves the pull to the runtime', async () => {
    const pulls = { pull: () => Promise.reject(new TypeError('a bug')) };
    const { runtime, served, client } = await open(fine, pulls);
    assert.deepEqual((await client.call(pullImage, frame(bytes))).trailers, ['grpc-status', '0']);
    assert.ok(runtime.calls[0]?.body.equals(frame(bytes)), 'byte for byte');
    assert.match(served.log.text, /a bug/);
  });
});

describe('the time of a pull', () => {
  test('what is left of it goes to the runtime', async () => {
    const clock: { advance?: (ms: number) => void } = {};
    const { runtime, served, client } = await open(fine, {
      pull: async (request, attempt, o) => {
        clock.advance?.(20_000);
        return unchangedPulls.pull(request, attempt, o);
      },
    });
    clock.advance = (ms) => served.clock.advance(ms);
    await client.call(pullImage, frame(bytes), { 'grpc-timeout': '2M' });
    assert.match(runtime.calls[0]?.rawHeaders.join(' ') ?? '', /grpc-timeout 100000m/);
    await client.call(pullImage, frame(bytes));
    assert.doesNotMatch(runtime.calls[1]?.rawHeaders.join(' ') ?? '', /grpc-timeout/);
  });

  test('is kept for a client that does not keep it', async () => {
    const { runtime, served, client } = await open(() => {});
    const { headers } = await client.call(pullImage, frame(bytes), { 'grpc-timeout': '1m' });
    assert.equal(headers[headers.indexOf('grpc-status') + 1], '4', headers.join(' '));
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
  });

  test('is over also while a credential is waited for', async () => {
    let reason: unknown;
    const pulls: CriFrontParts['pulls'] = {
      pull: (_request, _attempt, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reason = signal.reason;
            reject(reason);
          });
        }),
    };
    const { runtime, served, client } = await open(fine, pulls);
    const { headers } = await client.call(pullImage, frame(bytes), { 'grpc-timeout': '1S' });
    assert.equal(headers[headers.indexOf('grpc-status') + 1], '4', headers.join(' '));
    assert.match(String(reason), /its time is over/);
    assert.deepEqual(runtime.calls, []);
    assert.equal(served.log.at('error').length, 0, served.log.text);
  });

  test('a client that goes ends its pull at the runtime, and 200 do', async () => {
    const { runtime, served, client } = await open(() => {});
    const streams = Array.from({ length: 200 }, () => {
      const stream = client.begin(pullImage);
      stream.end(frame(bytes));
      return { stream, answer: rawAnswer(stream) };
    });
    await until('all came', () => runtime.openStreams === 200);
    for (const { stream } of streams) stream.close(constants.NGHTTP2_CANCEL);
    await Promise.all(streams.map(({ answer }) => answer));
    await until('no stream is open', () => served.openStreams() + runtime.openStreams === 0);
    assert.equal(served.log.at('error').length, 0, served.log.text);
  });
});

test('two fronts in a row: the outer credential counts, and both say what they know', async () => {
  const outer = showing({ credential: basicCredential('outer', secret) }, 'outer advice');
  const inner = showing({}, 'inner advice');
  const { runtime, served } = await open(
    whenWhole((call) => end(call, { 'grpc-status': '2', 'grpc-message': 'no' }, Buffer.of())),
    inner.pulls,
  );
  const front = await serveCriFront(served.path, { pulls: outer.pulls });
  closing.push(() => front.close());
  const client = new RawGrpcClient(front.path);
  closing.push(() => client.close());
  const { trailers } = await client.call(pullImage, frame(bytes));
  assert.equal(inner.requests[0]?.hasOwnCredential, true, 'the inner one leaves it alone');
  assert.equal(
    fromBinary(PullImageRequestSchema, runtime.calls[0]?.body.subarray(5) ?? Buffer.of()).auth?.username,
    'outer',
  );
  assert.equal(
    messageOf(trailers),
    'no; kubelet-image-service: inner advice; kubelet-image-service: outer advice',
  );
});

test('with the rules of the image service: refused, asked anew, and as nobody at last', async () => {
  const match = parseImagePattern('docker.example.com/**');
  assert.ok(match !== undefined, 'a pattern');
  const source = new FakeCredentialSource([
    basicCredential('a', `${secret}-1`),
    basicCredential('b', `${secret}-2`),
  ]);
  const rules = new CredentialRules([{ name: match.text, match, credentials: { type: 'static', source } }]);
  const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
  const register = new PullRegister({ clock });
  const pulls = new PullService({ rules, register, clock, log, metrics, credentialTimeout: 1000 });
  const refusal = 'failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized';
  const { runtime, client } = await open(
    whenWhole((call) => end(call, { 'grpc-status': '2', 'grpc-message': refusal }, Buffer.of())),
    pulls,
  );
  const { trailers } = await client.call(pullImage, frame(bytes));
  const users = runtime.calls.map(
    ({ body }) => fromBinary(PullImageRequestSchema, body.subarray(5)).auth?.username,
  );
  assert.deepEqual(users, ['a', 'b', undefined]);
  assert.ok(messageOf(trailers).startsWith(`${refusal}; kubelet-image-service: `), messageOf(trailers));
  assert.doesNotMatch([log.text, trailers.join(' ')].join(), new RegExp(secret), 'no secret');

  runtime.calls.length = 0;
  runtime.answer = whenWhole((call) => {
    if (runtime.calls.length === 1)
      return end(call, { 'grpc-status': '2', 'grpc-message': refusal }, Buffer.of());
    end(call, { 'grpc-status': '0' });
  });
  source.credentials.splice(0, 9, basicCredential('a', `${secret}-1`));
  const answer = await client.call(pullImage, frame(bytes));
  assert.ok(answer.body.equals(pulled), 'a public image is pulled all the same');
});

test('any other method is relayed, PullImage of another service too', async () => {
  const { requests, pulls } = showing();
  const { runtime, client } = await open(fine, pulls);
  for (const path of ['/runtime.v1.ImageService/PullImages', '/runtime.v2.ImageService/PullImage']) {
    const body = randomBytes(100);
    await client.call(path, body);
    assert.ok(runtime.calls.at(-1)?.body.equals(body), path);
  }
  assert.deepEqual(requests, []);
});
