import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { CallOptions } from '../contracts/call-options.js';
import {
  type FilesystemUsage,
  type PullOptions,
  RuntimeError,
  type RuntimeImage,
} from '../contracts/runtime.js';
import { RegistryError } from '../errors.js';
import { CredentialRules } from '../image-service/credential-rules.js';
import { PullRegister } from '../image-service/pull-register.js';
import { PullService } from '../image-service/pull-service.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import type { ImageReference } from '../reference/image-reference.js';
import { parseImagePattern } from '../settings/image-pattern.js';
import { FakeClock } from '../testing/fake-clock.js';
import { basicCredential, FakeCredentialSource } from '../testing/fake-credential-source.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { FakeRuntime } from '../testing/fake-runtime.js';
import { RawGrpcClient, rawAnswer } from '../testing/raw-grpc-client.js';
import {
  ImageFsInfoRequestSchema,
  ImageFsInfoResponseSchema,
  ImageStatusRequestSchema,
  ImageStatusResponseSchema,
  ListImagesRequestSchema,
  ListImagesResponseSchema,
  PullImageRequestSchema,
  PullImageResponseSchema,
  RemoveImageRequestSchema,
  RemoveImageResponseSchema,
} from './cri/runtime_pb.js';
import { EngineFront } from './engine-front.js';
import { frame, maxMessageSize } from './frames.js';
import { decodeStatusMessage } from './status.js';

const service = '/runtime.v1.ImageService/';
const app = 'docker.example.com/team/app:1';
const pull = [PullImageRequestSchema, PullImageResponseSchema] as const;
const pod = { metadata: { name: 'cart-1', uid: 'u-1', namespace: 'shop' } };

/** A runtime that a test gets in the way of. */
class TroubledRuntime extends FakeRuntime {
  before: (o: CallOptions) => Promise<void> = async () => {};
  found: RuntimeImage | undefined;
  images: readonly RuntimeImage[] | undefined;
  usage: readonly FilesystemUsage[] | undefined;

  override async pull(image: ImageReference, o: PullOptions): Promise<string> {
    await this.before(o);
    return super.pull(image, o);
  }
  override async status(image: string, o: CallOptions) {
    await this.before(o);
    return this.found ?? super.status(image, o);
  }
  override async list(o: CallOptions & { readonly image?: string }) {
    await this.before(o);
    return this.images ?? super.list(o);
  }
  override async fsInfo(o: CallOptions) {
    await this.before(o);
    return this.usage ?? super.fsInfo(o);
  }
  override async remove(image: string, o: CallOptions) {
    await this.before(o);
    return super.remove(image, o);
  }
}

class World {
  readonly runtime = new TroubledRuntime({
    [app]: { size: 7 },
    'docker.example.com/team/secret:1': { credential: 'robot:rule-secret-41aa' },
    'docker.io/library/busybox:1': {},
  });
  readonly log = new FakeLog();
  readonly source = new FakeCredentialSource([basicCredential('robot', 'rule-secret-41aa')]);
  readonly register = new PullRegister({ clock: new FakeClock() });
  readonly client: Client;
  readonly raw: RawGrpcClient;
  readonly #end: () => Promise<void>;

  private constructor(path: string, end: () => Promise<void>) {
    this.client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': maxMessageSize,
      'grpc.max_send_message_length': -1,
    });
    this.raw = new RawGrpcClient(path);
    this.#end = end;
  }

  static async open(): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'drp-engine-'));
    const server = createServer();
    const sessions = new Set<ServerHttp2Session>();
    server.on('session', (session) => sessions.add(session));
    server.listen(join(directory, 's'));
    await once(server, 'listening');
    const world = new World(join(directory, 's'), async () => {
      server.close();
      for (const session of sessions) session.destroy();
      await rm(directory, { recursive: true });
    });
    const front = world.#front();
    server.on('stream', ((stream, headers, _flags, rawHeaders: string[]) =>
      front.handle(stream, headers, rawHeaders)) as Parameters<typeof server.on>[1]);
    return world;
  }

  #front(): EngineFront {
    const { runtime, log, register, source } = this;
    const [clock, metrics] = [new FakeClock(), new FakeMetrics()];
    const match = parseImagePattern('docker.example.com/**');
    assert.ok(match, 'a pattern');
    const rules = new CredentialRules([{ name: match.text, match, credentials: { type: 'static', source } }]);
    const pulls = new PullService({ rules, register, clock, log, metrics, credentialTimeout: 1000 });
    return new EngineFront({ runtime, pulls, log });
  }

  call<Request extends DescMessage, Response extends DescMessage>(
    method: string,
    [request, response]: readonly [Request, Response],
    message: MessageInitShape<Request>,
    deadline?: number,
  ): Promise<MessageShape<Response>> {
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        service + method,
        (value: MessageShape<Request>) => Buffer.from(toBinary(request, value)),
        (bytes: Buffer) => fromBinary(response, bytes),
        create(request, message),
        new Metadata(),
        deadline === undefined ? {} : { deadline: Date.now() + deadline },
        (error, value) => (error || value === undefined ? reject(error) : resolve(value)),
      );
    });
  }

  async failure<Request extends DescMessage, Response extends DescMessage>(
    method: string,
    schemas: readonly [Request, Response],
    message: MessageInitShape<Request>,
  ): Promise<{ readonly code: number; readonly details: string }> {
    try {
      await this.call(method, schemas, message);
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code, details };
    }
    throw new Error(`${method} did not fail`);
  }

  async close(): Promise<void> {
    this.client.close();
    await this.raw.close();
    await this.#end();
  }
}

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

describe('images', { timeout: 60_000 }, () => {
  const status = [ImageStatusRequestSchema, ImageStatusResponseSchema] as const;
  const list = [ListImagesRequestSchema, ListImagesResponseSchema] as const;
  const remove = [RemoveImageRequestSchema, RemoveImageResponseSchema] as const;

  test('are pulled, found, listed, removed, and gone', async () => {
    const { imageRef } = await world.call('PullImage', pull, { image: { image: app } });
    assert.match(imageRef, /^sha256:[0-9a-f]{64}$/);
    const { image, info } = await world.call('ImageStatus', status, { image: { image: app } });
    assert.deepEqual([image?.id, image?.repoTags, image?.size, info], [imageRef, [app], 7n, {}]);
    const all = await world.call('ListImages', list, {});
    assert.deepEqual(
      all.images.map(({ id }) => id),
      [imageRef],
    );
    const others = await world.call('ListImages', list, { filter: { image: { image: 'other.test/x:1' } } });
    assert.deepEqual(others.images, []);
    const these = await world.call('ListImages', list, { filter: { image: { image: app } } });
    assert.equal(these.images.length, 1);
    await world.call('RemoveImage', remove, { image: { image: imageRef } });
    await world.call('RemoveImage', remove, { image: { image: imageRef } });
    assert.equal((await world.call('ImageStatus', status, { image: { image: app } })).image, undefined);
  });

  const plain = {
    id: 'sha256:1',
    repoTags: ['a:1', 'a:2'],
    repoDigests: ['a@sha256:2'],
    size: 9,
    pinned: false,
  };
  const cases: readonly (readonly [what: string, RuntimeImage, expected: object])[] = [
    ['pinned', { ...plain, pinned: true }, { pinned: true, size: 9n, repoTags: ['a:1', 'a:2'] }],
    ['a uid', { ...plain, user: { uid: 0 } }, { uid: 0n, username: '' }],
    ['a user name', { ...plain, user: { username: 'www' } }, { uid: undefined, username: 'www' }],
    ['no size', { ...plain, size: 0 }, { size: 1n }],
    ['a size that is none', { ...plain, size: Number.NaN }, { size: 1n }],
    ['a large one', { ...plain, size: 2 ** 53 }, { size: 9007199254740992n }],
  ];
  for (const [what, found, expected] of cases) {
    test(`are shown as CRI has it: ${what}`, async () => {
      world.runtime.found = found;
      const { image } = await world.call('ImageStatus', status, { image: { image: 'a:1' } });
      const { uid, ...rest } = image ?? {};
      const shown: Record<string, unknown> = { ...rest, uid: uid?.value };
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(shown[name], value, name);
    });
  }

  test('say more where more is asked', async () => {
    world.runtime.found = plain;
    const { info } = await world.call('ImageStatus', status, { image: { image: 'a:1' }, verbose: true });
    assert.deepEqual(JSON.parse(String(info.info)), plain);
  });

  test('take room', async () => {
    world.runtime.usage = [
      { timestamp: 1767225600123.7, mountpoint: '/var/lib/docker', usedBytes: 5, inodesUsed: 2 },
    ];
    const fsInfo = [ImageFsInfoRequestSchema, ImageFsInfoResponseSchema] as const;
    const { imageFilesystems, containerFilesystems } = await world.call('ImageFsInfo', fsInfo, {});
    const [one] = imageFilesystems;
    assert.deepEqual(
      [one?.timestamp, one?.fsId?.mountpoint, one?.usedBytes?.value, one?.inodesUsed?.value],
      [1767225600124000000n, '/var/lib/docker', 5n, 2n],
    );
    assert.deepEqual(containerFilesystems, imageFilesystems);
  });

  test('of an empty store take none, and say so', async () => {
    world.runtime.usage = [{ timestamp: 1, mountpoint: '/x', usedBytes: 0, inodesUsed: Number.NaN }];
    const fsInfo = [ImageFsInfoRequestSchema, ImageFsInfoResponseSchema] as const;
    const [one] = (await world.call('ImageFsInfo', fsInfo, {})).imageFilesystems;
    assert.deepEqual([one?.usedBytes?.value, one?.inodesUsed?.value], [0n, 0n]);
  });

  test('in a list of nearly 16 MiB arrive, and more do not', async () => {
    const repoTags = ['x'.repeat(1024 * 1024)];
    world.runtime.images = Array.from({ length: 15 }, () => ({ ...plain, repoTags }));
    assert.equal((await world.call('ListImages', list, {})).images.length, 15);
    world.runtime.images = Array.from({ length: 17 }, () => ({ ...plain, repoTags }));
    assert.equal((await world.failure('ListImages', list, {})).code, grpcStatus.RESOURCE_EXHAUSTED);
  });

  test('a runtime that is down is UNAVAILABLE', async () => {
    world.runtime.broken = true;
    const failure = await world.failure('ImageStatus', status, { image: { image: app } });
    assert.deepEqual(failure, { code: grpcStatus.UNAVAILABLE, details: 'the runtime is broken' });
  });

  test('a bug of ours is INTERNAL, and tells nothing', async () => {
    world.runtime.before = async () => {
      throw new TypeError('internals at 0x1234');
    };
    const { code, details } = await world.failure('ListImages', list, {});
    assert.deepEqual([code, details.includes('0x1234')], [grpcStatus.INTERNAL, false]);
    assert.ok(world.log.text.includes('0x1234'), 'the log tells');
  });

  for (const [method, schemas] of [
    ['ImageStatus', status],
    ['RemoveImage', remove],
  ] as const) {
    test(`${method} of nothing`, async () => {
      assert.equal(
        (await world.failure(method, schemas as typeof remove, {})).code,
        grpcStatus.INVALID_ARGUMENT,
      );
    });
  }
});

describe('a pull', { timeout: 60_000 }, () => {
  const secret = 'docker.example.com/team/secret:1';
  const shown = () => world.runtime.pulls.map(({ credential }) => printed(credential));
  const printed = (credential: PullOptions['credential']) =>
    credential?.kind === 'basic'
      ? `${credential.username}:${credential.password.reveal()}`
      : credential?.kind;

  test('shows the credential of its rule', async () => {
    await world.call('PullImage', pull, { image: { image: secret }, sandboxConfig: pod });
    assert.deepEqual(shown(), ['robot:rule-secret-41aa']);
    assert.equal(world.register.snapshot().recent[0]?.pod?.name, 'cart-1');
  });

  const auths: readonly (readonly [what: string, object, string | undefined])[] = [
    ['a user', { username: 'own', password: 'pw' }, 'own:pw'],
    ['auth', { auth: Buffer.from('own:pw').toString('base64') }, 'own:pw'],
    ['an identity token', { identityToken: 't' }, 'identity-token'],
    ['a registry token', { registryToken: 't' }, 'registry-token'],
    ['an empty one', {}, undefined],
  ];
  for (const [what, auth, expected] of auths) {
    test(`shows kubelet's own, unchanged: ${what}`, async () => {
      await world.call('PullImage', pull, { image: { image: app }, auth });
      assert.deepEqual([shown(), world.source.asked.length], [[expected], 0]);
    });
  }

  test('with an auth that cannot be read fails, and is not nobody', async () => {
    const auth = { auth: Buffer.from('no-colon-here').toString('base64') };
    const { code, details } = await world.failure('PullImage', pull, { image: { image: app }, auth });
    assert.deepEqual([code, shown()], [grpcStatus.UNKNOWN, []]);
    assert.match(details, /: the imagePullSecret cannot be used/);
    assert.equal(world.register.snapshot().recent[0]?.state, 'failed');
  });

  const failures: readonly (readonly [what: string, Error, code: number, details: RegExp])[] = [
    [
      'refused',
      new RegistryError('UNAUTHORIZED', { reason: 'incorrect username or password' }),
      grpcStatus.UNKNOWN,
      /^the registry docker\.example\.com answers unauthorized: incorrect username or password; kubelet-image-service: the registry docker\.example\.com refused the credential of rule/,
    ],
    [
      'denied',
      new RegistryError('DENIED'),
      grpcStatus.UNKNOWN,
      /^the registry docker\.example\.com answers denied: requested access to the resource is denied; kubelet-image-service: /,
    ],
    [
      'no such image',
      new RegistryError('MANIFEST_UNKNOWN'),
      grpcStatus.NOT_FOUND,
      /answers 404 Not Found: manifest unknown/,
    ],
    ['limited', new RegistryError('TOOMANYREQUESTS'), grpcStatus.UNKNOWN, /answers 429 Too Many Requests/],
    [
      'registry down',
      new RegistryError('UNAVAILABLE', { reason: 'received 503' }),
      grpcStatus.UNKNOWN,
      /^RegistryUnavailable: the registry docker\.example\.com cannot be used: received 503; kubelet-image-service: /,
    ],
    [
      'signature',
      new RuntimeError('signature', 'no signature exists'),
      grpcStatus.UNKNOWN,
      /^SignatureValidationFailed: no signature exists$/,
    ],
    [
      'runtime down',
      new RuntimeError('unavailable', 'docker is down'),
      grpcStatus.UNAVAILABLE,
      /^docker is down; /,
    ],
    [
      'stalled',
      new RuntimeError('stalled', 'for 1m'),
      grpcStatus.DEADLINE_EXCEEDED,
      /^no progress of the pull from/,
    ],
    [
      'full',
      new RuntimeError('full', 'write /x'),
      grpcStatus.UNKNOWN,
      /^no space left for the image: write \/x; /,
    ],
    [
      'failed',
      new RuntimeError('failed', 'it says no'),
      grpcStatus.UNKNOWN,
      /^cannot pull from docker\.example\.com: it says no$/,
    ],
  ];
  for (const [what, error, code, details] of failures) {
    test(`fails: ${what}`, async () => {
      world.runtime.before = async () => {
        throw error;
      };
      const failure = await world.failure('PullImage', pull, { image: { image: app } });
      assert.equal(failure.code, code);
      assert.match(failure.details, details);
      assert.ok(!failure.details.includes('\n'), 'one line');
    });
  }

  test('tells no secret, whoever it is of', async () => {
    world.runtime.before = async () => {
      const reason = 'rule-secret-41aa own-secret-52bb https://s3.test/l?sig=5igned';
      throw new RegistryError('DENIED', { reason });
    };
    const auth = { username: 'own', password: 'own-secret-52bb' };
    const own = await world.failure('PullImage', pull, { image: { image: app }, auth });
    assert.ok(!/own-secret|5igned/.test(own.details + world.log.text), own.details);
    const rule = await world.failure('PullImage', pull, { image: { image: app } });
    assert.ok(!/rule-secret|5igned/.test(rule.details), rule.details);
  });

  test('of no reference is INVALID_ARGUMENT, and nobody is asked', async () => {
    for (const image of ['docker.example.com/UPPER', 'a b', '', `x@sha256:${'0'.repeat(3)}`]) {
      const { code } = await world.failure('PullImage', pull, { image: { image } });
      assert.equal(code, grpcStatus.INVALID_ARGUMENT, image);
    }
    assert.equal(world.runtime.pulls.length, 0);
  });

  test('of a short name has no credential', async () => {
    await world.call('PullImage', pull, { image: { image: 'busybox:1' } });
    assert.deepEqual([shown(), world.source.asked.length], [[undefined], 0]);
  });

  test('whose client goes away is stopped', async () => {
    const stopped = new Promise<void>((resolve) => {
      world.runtime.before = async ({ signal }) => {
        stream.close(8); // CANCEL
        await once(signal, 'abort');
        resolve();
        signal.throwIfAborted();
      };
    });
    const stream = world.raw.begin(`${service}PullImage`);
    stream.end(
      frame(toBinary(PullImageRequestSchema, create(PullImageRequestSchema, { image: { image: app } }))),
    );
    await stopped;
    await world.register.whenIdle();
    assert.equal(world.register.snapshot().recent[0]?.state, 'failed');
    assert.equal(world.log.at('error').length, 0);
  });

  test('two hundred at once', async () => {
    const pulls = Array.from({ length: 200 }, () => world.call('PullImage', pull, { image: { image: app } }));
    const refs = new Set((await Promise.all(pulls)).map(({ imageRef }) => imageRef));
    assert.deepEqual([refs.size, world.register.running], [1, 0]);
  });
});

describe('a call on the wire', { timeout: 60_000 }, () => {
  const status = (answer: { headers: readonly string[]; trailers: readonly string[] }) => {
    const raw = [...answer.headers, ...answer.trailers];
    const value = (name: string) => raw[raw.indexOf(name) + 1];
    return {
      code: Number(value('grpc-status')),
      message: decodeStatusMessage(String(value('grpc-message'))),
    };
  };
  const empty = frame(new Uint8Array());

  test('whose time is over gets DEADLINE_EXCEEDED, also where the runtime does not look', async () => {
    world.runtime.before = () => new Promise(() => {});
    const request = toBinary(
      ImageStatusRequestSchema,
      create(ImageStatusRequestSchema, { image: { image: app } }),
    );
    const answer = await world.raw.call(`${service}ImageStatus`, frame(request), { 'grpc-timeout': '1m' });
    assert.equal(status(answer).code, grpcStatus.DEADLINE_EXCEEDED);
  });

  test('whose time is over before its request was whole', async () => {
    const stream = world.raw.begin(`${service}ListImages`, { 'grpc-timeout': '1m' });
    assert.equal(status(await rawAnswer(stream)).code, grpcStatus.DEADLINE_EXCEEDED);
  });

  test('of hours has these', async () => {
    const answer = await world.raw.call(`${service}ListImages`, empty, { 'grpc-timeout': '99999999H' });
    assert.equal(status(answer).code, grpcStatus.OK);
  });

  for (const method of ['StreamImages', 'Unknown', 'listimages', 'ListImages/', 'constructor']) {
    test(`${method} is UNIMPLEMENTED`, async () => {
      assert.equal(status(await world.raw.call(service + method, empty)).code, grpcStatus.UNIMPLEMENTED);
    });
  }

  const bodies: readonly (readonly [what: string, body: Buffer, code: number])[] = [
    ['no message', Buffer.alloc(0), grpcStatus.INTERNAL],
    ['half a message', Buffer.from([0, 0, 0, 0, 9, 1]), grpcStatus.INTERNAL],
    ['two messages', Buffer.concat([empty, empty]), grpcStatus.INTERNAL],
    ['no protobuf', frame(Buffer.from('not protobuf: secret-in-here')), grpcStatus.INVALID_ARGUMENT],
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 0]), grpcStatus.UNIMPLEMENTED],
    ['one that is too large', Buffer.from([0, 1, 0, 0, 1, 0]), grpcStatus.RESOURCE_EXHAUSTED],
  ];
  for (const [what, body, code] of bodies) {
    test(what, async () => {
      const answer = await world.raw.call(`${service}PullImage`, body);
      assert.equal(status(answer).code, code);
      assert.ok(!status(answer).message.includes('secret-in-here'), 'nothing of the message');
    });
  }

  test('of 15 MiB is read', async () => {
    const image = { image: app, annotations: { large: 'x'.repeat(15 * 1024 * 1024) } };
    await world.call('PullImage', pull, { image });
  });
});
