import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { ListImagesResponseSchema, PullImageResponseSchema } from '../../src/grpc/cri/runtime_pb.js';
import { run, succeeded } from './harness/command.js';
import { CriClient } from './harness/cri-client.js';
import { criRequests, imageMethod } from './harness/cri-requests.js';
import { buildGrpcGo, type GoCall, requireGrpcGo } from './harness/grpc-go.js';
import { startImageService } from './harness/image-service.js';
import { asAlice, startHouse } from './harness/image-service-house.js';
import { rawCall } from './harness/raw-cri.js';
import { requirePrograms } from './harness/require-programs.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

const call = (name: string, message: Uint8Array): GoCall => ({ method: imageMethod(name), message });
const pull = (image: string) => call('PullImage', criRequests.pull(image));
const times = (count: number) => Array.from({ length: count }, (_, i) => i);

test('clients', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr', 'docker', 'dockerd') || !requireGrpcGo(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const building = buildGrpcGo(workspace);
  const { front, containerd, direct, nodes, put } = await startHouse(workspace, {
    configure: ({ proxy }) => ({ images: [{ match: `${proxy.host}/**`, credentials: asAlice }] }),
  });
  const go = await building;
  const [cri = assert.fail('no node')] = nodes;

  await t.test('cri: grpc-go hears the same from us as from containerd', async () => {
    const image = await put('go', { tags: ['1', '2'] });
    const [pulled] = await go(cri.service.socket, [pull(image.tagged)]);
    assert.deepEqual([pulled?.code, pulled?.message], [0, '']);
    assert.equal(fromBinary(PullImageResponseSchema, pulled?.bytes ?? Buffer.of()).imageRef, image.id);
    const calls = [
      call('ListImages', criRequests.list()),
      call('ImageStatus', criRequests.status(image.tagged, true)),
      call('ImageStatus', criRequests.status(image.id)),
      call('ImageStatus', criRequests.status(`${image.name}:3`)),
      call('ImageStatus', criRequests.status('')),
      call('RemoveImage', criRequests.remove(`${image.name}:3`)),
      call('PullImage', Buffer.from([0xff, 0xff, 0xff])),
      call('StreamImages', criRequests.list()),
      call('NoSuchMethod', Buffer.alloc(0)),
    ];
    const ours = await go(cri.service.socket, calls);
    assert.equal(ours.length, calls.length);
    assert.deepEqual(ours, await go(containerd.socket, calls));
    const late = await go(cri.service.socket, [pull(image.tagged)], { timeout: '1ms' });
    assert.deepEqual(
      late.map(({ code }) => code),
      [4],
    );
  });

  for (const { kind, client, service } of nodes) {
    await t.test(`${kind}: 200 pulls at once with grpc-go, of 12 images`, async () => {
      const images = await Promise.all(times(12).map((i) => put(`many/${kind}-${i}`)));
      // Pulls of what is new to Docker 20.10 lock each other out of its containerd's content store, directly too.
      if (kind === 'docker')
        await go(
          service.socket,
          images.map(({ tagged }) => pull(tagged)),
        );
      const calls = times(200).map((i) => pull(images[i % images.length]?.tagged ?? ''));
      const answers = await go(service.socket, calls);
      assert.equal(answers.length, calls.length);
      for (const [i, { code, message, bytes }] of answers.entries()) {
        assert.deepEqual([code, message], [0, ''], `pull ${i}`);
        assert.equal(fromBinary(PullImageResponseSchema, bytes).imageRef, images[i % images.length]?.id);
      }
      for (const { tagged, id } of images) assert.equal((await client.status(tagged))?.id, id);
      const { running } = await service.status();
      assert.deepEqual(running, []);
    });
  }

  await t.test('a list of many frames, to many readers at once', async () => {
    const image = await put('long-list');
    await cri.client.pull(image.tagged);
    const [name, tag] = ['x'.repeat(220), 'y'.repeat(100)];
    const names = times(400).map((i) => `example.com/${name}:${tag}${i}`);
    succeeded(await containerd.ctr(['images', 'tag', image.tagged, ...names]));
    const hasAll = async () => (await direct.status(image.id))?.repoTags.length === names.length + 1;
    assert.ok(await waitFor(hasAll, 60_000), 'containerd does not know all the names');
    const list = call('ListImages', criRequests.list());
    const [theirs] = await go(containerd.socket, [list]);
    assert.ok((theirs?.bytes.length ?? 0) > 128 * 1024, `${theirs?.bytes.length} bytes`);
    for (const { code, bytes } of await go(
      cri.service.socket,
      times(40).map(() => list),
    )) {
      assert.equal(code, 0);
      // In no order, and as long as the other.
      assert.equal(bytes.length, theirs?.bytes.length);
      fromBinary(ListImagesResponseSchema, bytes);
    }
  });

  for (const { kind, service } of nodes) {
    await t.test(`${kind}: there is nothing but the image service`, async () => {
      const env = workspace.environment();
      const listed = await run('ctr', ['--address', service.socket, 'images', 'list'], { env });
      assert.notEqual(listed.code, 0, listed.output);
      assert.match(listed.output, /not implemented|unimplemented/i);
      for (const path of [
        '/runtime.v1.RuntimeService/Version',
        '/runtime.v1.RuntimeService/ListPodSandbox',
        '/runtime.v1alpha2.ImageService/ListImages',
        '/containerd.services.images.v1.Images/List',
        '/grpc.health.v1.Health/Check',
        '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
        '/runtime.v1.ImageService/../RuntimeService/Version',
        '//runtime.v1.RuntimeService/Version',
        '/runtime.v1.ImageService/%2e%2e/RuntimeService/Version',
      ]) {
        const answer = await rawCall(service.socket, path, Buffer.alloc(0));
        assert.deepEqual([answer.httpStatus, answer.status], [200, 12], `${path}: ${answer.message}`);
      }
      const byGo = await go(service.socket, [
        { method: '/runtime.v1.RuntimeService/Version', message: Buffer.of() },
        { method: '/grpc.health.v1.Health/Check', message: Buffer.of() },
      ]);
      assert.deepEqual(
        byGo.map(({ code }) => code),
        [12, 12],
      );
    });
  }

  for (const { kind, service } of nodes) {
    await t.test(`${kind}: our service in front of our service`, async () => {
      const outer = await startImageService(
        workspace,
        { runtime: { type: 'cri', endpoint: `unix://${service.socket}` } },
        { name: `outer-${kind}` },
      );
      const client = new CriClient(workspace, outer.socket);
      const image = await put(`chained-${kind}`, { tags: ['1', '2'], user: '7' });
      assert.equal(await client.pull(image.tagged), image.id, 'the inner one has the credential');
      assert.equal((await client.status(image.tagged))?.uid?.value, 7n);
      const fsInfo = await client.fsInfo();
      assert.equal(fsInfo.length, 1);
      assert.ok(
        (await client.list()).some(({ id }) => id === image.id),
        'it is not listed',
      );
      const answer = await rawCall(
        outer.socket,
        imageMethod('PullImage'),
        criRequests.pull(`${image.name}:3`),
      );
      assert.equal(answer.status, 5, answer.message);
      await client.remove(image.id);
      assert.equal(await client.status(image.tagged), undefined);
      await outer.stop();
    });
  }

  await t.test('containerd has all that was pulled through us', async () => {
    const ids = (images: readonly { readonly id: string }[]) => images.map(({ id }) => id).toSorted();
    assert.deepEqual(ids(await cri.client.list()), ids(await direct.list()));
    front.assertNoSecretWritten();
  });
});
