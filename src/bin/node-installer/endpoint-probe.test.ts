import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  ImageFsInfoResponseSchema,
  ImageStatusResponseSchema,
  ListImagesResponseSchema,
} from '../../grpc/cri/runtime_pb.js';
import { frame } from '../../grpc/frames.js';
import { FakeCriRuntime } from '../../testing/fake-cri-runtime.js';
import { CriEndpoints } from './endpoint-probe.js';
import { LocalKubelet } from './kubelet-health.js';

interface Runtime {
  readonly mountpoint?: string;
  readonly images?: readonly string[];
  readonly status?: string;
}

async function runtimeOf(
  t: TestContext,
  { mountpoint = '/var', images = ['a', 'b'], status = 'a' }: Runtime = {},
): Promise<string> {
  const filesystem = { fsId: { mountpoint }, usedBytes: { value: 1n } };
  const answers: Readonly<Record<string, Uint8Array>> = {
    ImageFsInfo: toBinary(
      ImageFsInfoResponseSchema,
      create(ImageFsInfoResponseSchema, { imageFilesystems: [filesystem] }),
    ),
    ListImages: toBinary(
      ListImagesResponseSchema,
      create(ListImagesResponseSchema, { images: images.map((id) => ({ id })) }),
    ),
    ImageStatus: toBinary(
      ImageStatusResponseSchema,
      create(ImageStatusResponseSchema, status === '' ? {} : { image: { id: status } }),
    ),
  };
  const runtime = new FakeCriRuntime(async ({ path, stream }, whole) => {
    await whole;
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(frame(answers[path.split('/').at(-1) ?? ''] ?? new Uint8Array()));
  });
  t.after(() => runtime.close());
  await runtime.listen();
  return `unix://${runtime.path}`;
}

describe('an endpoint beside the runtime', () => {
  const cases: readonly (readonly [what: string, ours: Runtime, expected: RegExp | undefined])[] = [
    ['that says the same, in another order', { images: ['b', 'a'] }, undefined],
    ['with another filesystem', { mountpoint: '/other' }, /^ImageFsInfo names other filesystems/],
    ['with one image less', { images: ['a'] }, /^ListImages lists other images/],
    ['that does not know an image', { status: '' }, /^ImageStatus is not what/],
  ];
  for (const [what, ours, expected] of cases) {
    test(`${what}: ${expected === undefined ? 'fine' : 'told'}`, async (t) => {
      const [endpoint, runtime] = [await runtimeOf(t, ours), await runtimeOf(t)];
      const difference = await new CriEndpoints().compare(endpoint, runtime);
      if (expected === undefined) assert.equal(difference, undefined);
      else assert.match(difference ?? '', expected);
    });
  }

  test('that is not there, or a runtime that is not: told in one line', async (t) => {
    const runtime = await runtimeOf(t);
    const nowhere = 'unix:///nonexistent/x.sock';
    for (const [ours, theirs] of [
      [nowhere, runtime],
      [runtime, nowhere],
    ] as const) {
      assert.match((await new CriEndpoints().compare(ours, theirs)) ?? '', /^there is no socket at [^\n]+$/);
    }
    assert.match((await new CriEndpoints().answers(nowhere, 100)) ?? '', /^there is no socket at [^\n]+$/);
    assert.equal(await new CriEndpoints().answers(runtime, 5_000), undefined);
  });
});

describe('kubelet', () => {
  const unit = (mainPid: number) => ({ unit: async () => ({ mainPid }) }) as never;

  test('is looked at by the main process of its unit', async () => {
    const found = await new LocalKubelet(unit(process.pid)).look('kubelet.service');
    assert.equal(found?.pid, process.pid);
    assert.ok((found?.arguments.length ?? 0) > 1, 'it has no arguments');
    assert.equal(await new LocalKubelet(unit(0)).look('kubelet.service'), undefined);
    assert.equal(await new LocalKubelet(unit(2 ** 30)).look('kubelet.service'), undefined);
  });

  for (const status of [200, 500]) {
    test(`says HTTP ${status}`, async (t) => {
      const server = createServer((_, response) => response.writeHead(status).end('ok'));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.after(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const why = await new LocalKubelet(unit(0), port).healthz();
      if (status === 200) assert.equal(why, undefined);
      else assert.match(why ?? '', /answers HTTP 500$/);
    });
  }

  test('does not listen: told in one line', async () => {
    assert.match(
      (await new LocalKubelet(unit(0), 1).healthz()) ?? '',
      /^http:\/\/127\.0\.0\.1:1\/healthz: [^\n]+$/,
    );
  });
});
