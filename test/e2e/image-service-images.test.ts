import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Image } from '../../src/grpc/cri/runtime_pb.js';
import { criRequests, imageMethod } from './harness/cri-requests.js';
import { asAlice, type HouseImage, startHouse } from './harness/image-service-house.js';
import { rawCall } from './harness/raw-cri.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

// What critest's "Image Manager" (kubernetes-sigs/cri-tools, pkg/validate/image.go) wants of an image service, and more.

/** Hexadecimal digits of an id, without what stands before them. */
const hexOf = ({ id }: HouseImage) => id.slice('sha256:'.length);

/** @throws where it did not fail with the code. @returns what was said */
async function failsWith(code: Code, promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    (value) => assert.fail(`no failure: ${String(value)}`),
    (reason: unknown) => ConnectError.from(reason),
  );
  assert.equal(Code[error.code], Code[code], error.message);
  return error.rawMessage;
}

test('images', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr', 'docker', 'dockerd')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { front, containerd, dockerd, direct, nodes, put } = await startHouse(workspace, {
    configure: ({ proxy }) => ({ images: [{ match: `${proxy.host}/**`, credentials: asAlice }] }),
  });

  for (const { kind, client, service } of nodes) {
    const put1 = (name: string, o?: Parameters<typeof put>[1]) => put(`${kind}-${name}`, o);
    const listed = async (id: string) => (await client.list()).filter((image) => image.id === id);
    /** What there is after it was removed: nothing, whatever it is called. */
    const assertGone = async (image: HouseImage) => {
      for (const form of [image.tagged, image.pinned, image.id, hexOf(image)]) {
        assert.equal(await client.status(form), undefined, `${form} is still there`);
      }
      assert.deepEqual(await listed(image.id), []);
    };

    const references: Readonly<Record<string, (image: HouseImage) => string>> = {
      name: ({ name }) => name,
      'name:tag': ({ name }) => `${name}:1`,
      'name@digest': ({ pinned }) => pinned,
      'name:tag@digest': ({ name, pinned }) => `${name}:1${pinned.slice(name.length)}`,
    };
    for (const [form, referenceOf] of Object.entries(references)) {
      await t.test(`${kind}: pulls by ${form}, and finds it by the same`, async () => {
        const image = await put1(`by-${form.replaceAll(/\W/g, '-')}`, { tags: ['1', 'latest'] });
        const reference = referenceOf(image);
        assert.equal(await client.status(reference), undefined);
        assert.equal(await client.pull(reference), image.id);
        const found = await client.status(reference);
        assert.equal(found?.id, image.id);
        assert.ok(found.size > 0n, 'it has a size');
        assert.deepEqual(found.repoDigests, [image.pinned]);
        const tag = { name: ':latest', 'name:tag': ':1' }[form];
        assert.deepEqual(found.repoTags, tag === undefined ? [] : [image.name + tag]);
        assert.equal((await listed(image.id)).length, 1);
        await client.remove(reference);
        await assertGone(image);
      });
    }

    await t.test(`${kind}: finds an image by each of its names, and by no other`, async () => {
      const image = await put1('names');
      await client.pull(image.tagged);
      const hex = hexOf(image);
      for (const form of [
        image.tagged,
        image.pinned,
        `${image.tagged}${image.pinned.slice(image.name.length)}`,
        image.id,
        hex,
        image.id.slice(0, 7 + 12),
        hex.slice(0, 12),
      ]) {
        assert.equal((await client.status(form))?.id, image.id, form);
      }
      const other = `sha256:${'0'.repeat(64)}`;
      for (const form of [
        image.name,
        `${image.name}:2`,
        `${image.name}@${other}`,
        `${image.name}x:1`,
        other,
      ]) {
        assert.equal(await client.status(form), undefined, form);
      }
      const { image: verbose, info } = await client.verboseStatus(image.tagged);
      assert.equal(verbose?.id, image.id);
      assert.ok(Object.keys(info).length > 0, 'something more where more is asked for');
    });

    await t.test(`${kind}: shows several tags as one image, and removes all of them by any`, async () => {
      const image = await put1('tags', { tags: ['1', '2', '3'] });
      for (const tag of ['1', '2', '3']) assert.equal(await client.pull(`${image.name}:${tag}`), image.id);
      const [only, ...more] = await listed(image.id);
      assert.deepEqual(more, []);
      assert.deepEqual(
        only?.repoTags.toSorted(),
        ['1', '2', '3'].map((tag) => `${image.name}:${tag}`),
      );
      assert.deepEqual(only?.repoDigests, [image.pinned]);
      await client.remove(`${image.name}:2`);
      await assertGone(image);
    });

    await t.test(`${kind}: keeps images apart that have nothing in common but the registry`, async () => {
      const images = [await put1('apart-1'), await put1('apart-2'), await put1('apart-3')];
      for (const { tagged } of images) await client.pull(tagged);
      for (const image of images) assert.deepEqual((await listed(image.id))[0]?.repoTags, [image.tagged]);
      await client.remove(images[0]?.tagged ?? '');
      await assertGone(images[0] ?? assert.fail('an image'));
      for (const { id } of images.slice(1)) assert.equal((await client.status(id))?.id, id);
    });

    const removals: Readonly<Record<string, (image: HouseImage) => string>> = {
      tag: ({ tagged }) => tagged,
      digest: ({ pinned }) => pinned,
      id: ({ id }) => id,
      'the digits of its id': hexOf,
      'the beginning of its id': (image) => hexOf(image).slice(0, 12),
    };
    for (const [form, nameOf] of Object.entries(removals)) {
      await t.test(`${kind}: removes an image of two tags by ${form}`, async () => {
        const image = await put1(`removed-by-${form.replaceAll(' ', '-')}`, { tags: ['1', '2'] });
        for (const tag of ['1', '2']) await client.pull(`${image.name}:${tag}`);
        await client.remove(nameOf(image));
        await assertGone(image);
        await client.remove(nameOf(image)); // nothing is there: that is fine
      });
    }

    await t.test(`${kind}: removes an image five times at once`, async () => {
      const image = await put1('five-times', { tags: ['1', '2'] });
      for (const tag of ['1', '2']) await client.pull(`${image.name}:${tag}`);
      await Promise.all(Array.from({ length: 5 }, () => client.remove(image.id)));
      await assertGone(image);
    });

    await t.test(`${kind}: pulls one image five times at once`, async () => {
      const image = await put1('pulled-five-times');
      const pulled = await Promise.all(Array.from({ length: 5 }, () => client.pull(image.tagged)));
      assert.deepEqual(new Set(pulled), new Set([image.id]));
      assert.equal((await listed(image.id)).length, 1);
    });

    const users: readonly (readonly [string | undefined, number | undefined, string])[] = [
      ['1002', 1002, ''],
      ['1003:50', 1003, ''],
      ['0', 0, ''],
      ['www-data', undefined, 'www-data'],
      ['www-data:100', undefined, 'www-data'],
      [undefined, undefined, ''],
    ];
    for (const [user, uid, username] of users) {
      await t.test(`${kind}: tells that an image runs as ${user ?? 'nobody in particular'}`, async () => {
        const name = `user-${user?.replaceAll(/\W/g, '-') ?? 'none'}`;
        const image = await put1(name, user === undefined ? {} : { user });
        await client.pull(image.tagged);
        const userOf = (found: Image | undefined) => [found?.uid && Number(found.uid.value), found?.username];
        assert.deepEqual(userOf(await client.status(image.tagged)), [uid, username]);
        // Docker tells it of one image only, and kubelet asks for one.
        if (kind === 'cri') assert.deepEqual(userOf((await listed(image.id))[0]), [uid, username]);
      });
    }

    await t.test(`${kind}: a tag and a repository that are not there are not found`, async () => {
      const image = await put1('absent');
      for (const absent of [`${image.name}:2`, `${image.name}-too:1`]) {
        const said = await failsWith(Code.NotFound, client.pull(absent));
        assert.ok(said.includes(absent.split(':').at(-2)?.split('/')[1] ?? ''), said);
        assert.equal(await client.status(absent), undefined);
      }
    });

    // The raw client says its deadline and does not keep it.
    await t.test(`${kind}: ends a call at its deadline`, async () => {
      const image = await put1('deadline');
      const pull = await rawCall(service.socket, imageMethod('PullImage'), criRequests.pull(image.tagged), {
        timeout: '1m',
      });
      assert.deepEqual([pull.status, pull.httpStatus], [4, 200], pull.message);
      const runtime = { cri: containerd, docker: dockerd }[kind];
      process.kill(runtime.pid, 'SIGSTOP');
      try {
        for (const [method, message] of [
          ['ListImages', criRequests.list()],
          ['ImageStatus', criRequests.status(image.tagged)],
          ['PullImage', criRequests.pull(image.tagged)],
          ['RemoveImage', criRequests.remove(image.tagged)],
          ['ImageFsInfo', criRequests.fsInfo()],
        ] as const) {
          const answer = await rawCall(service.socket, imageMethod(method), message, { timeout: '1m' });
          assert.equal(answer.status, 4, `${method}: ${answer.status} ${answer.message}`);
        }
      } finally {
        process.kill(runtime.pid, 'SIGCONT');
      }
      assert.equal(await client.pull(image.tagged), image.id, 'and nothing is left of it');
    });

    await t.test(`${kind}: tells how full the disk is`, async () => {
      const [usage, ...more] = await client.fsInfo();
      assert.deepEqual(more, []);
      assert.ok(existsSync(usage?.fsId?.mountpoint ?? ''), `${usage?.fsId?.mountpoint} is no path`);
      assert.ok(usage?.usedBytes !== undefined, 'kubelet reads it without looking whether it is there');
      const seconds = Number(usage.timestamp / 1_000_000_000n);
      assert.ok(Math.abs(Date.now() / 1000 - seconds) < 600, `${usage.timestamp} is no time in nanoseconds`);
    });

    // Ignoring what the registry says and looking for the tag would find the one from before.
    await t.test(`${kind}: a tag that is there and that the registry refuses now is an error`, async () => {
      const image = await put1('stale');
      assert.equal(await client.pull(image.tagged), image.id);
      const wrong = { auth: { username: 'alice', password: 'wrong' } };
      await assert.rejects(client.pull(image.tagged, wrong), ConnectError);
      if (kind === 'cri') await assert.rejects(direct.pull(image.tagged, wrong), ConnectError);
      assert.equal((await client.status(image.tagged))?.id, image.id);
    });
  }

  await t.test('docker: lists what a filter says', async () => {
    const client = nodes.find(({ kind }) => kind === 'docker')?.client ?? assert.fail('no such node');
    const image = await put('filtered', { tags: ['1', '2'] });
    for (const tag of ['1', '2']) await client.pull(`${image.name}:${tag}`);
    assert.ok((await client.list()).length > 1, 'there are others');
    const { name, tagged, pinned, id } = image;
    for (const filter of [name, tagged, `${name}:2`, pinned, id, hexOf(image)]) {
      const found = await client.list(filter);
      assert.deepEqual(
        found.map((image) => image.id),
        [id],
        filter,
      );
    }
    for (const filter of [`${name}:3`, `${name}x:1`, `sha256:${'0'.repeat(64)}`]) {
      assert.deepEqual(await client.list(filter), [], filter);
    }
  });

  await t.test('docker: what is no reference is not asked for', async () => {
    const client = nodes.find(({ kind }) => kind === 'docker')?.client ?? assert.fail('no such node');
    for (const bad of ['', ':::', 'UPPER/Case:1', `${front.proxy.host}/open/x@sha256:12`]) {
      await failsWith(Code.InvalidArgument, client.pull(bad));
    }
  });

  await t.test('cri: everything but a pull is what containerd itself says', async () => {
    const { service, client } = nodes.find(({ kind }) => kind === 'cri') ?? assert.fail('no such node');
    const image = await put('same', { tags: ['1', '2'], user: 'www-data' });
    for (const tag of ['1', '2']) await client.pull(`${image.name}:${tag}`);
    const list = (await client.list()).length;
    assert.ok(list > 5, `${list} images`);
    // A field that nobody knows, with a text.
    const unknownField = Buffer.concat([
      criRequests.status(image.tagged),
      Buffer.from([0xfa, 0x3f, 2, 65, 66]),
    ]);
    const calls: readonly (readonly [string, Uint8Array])[] = [
      ['ImageStatus', criRequests.status(image.tagged)],
      ['ImageStatus', criRequests.status(image.tagged, true)],
      ['ImageStatus', criRequests.status(image.pinned)],
      ['ImageStatus', criRequests.status(image.id)],
      ['ImageStatus', criRequests.status('')],
      ['ImageStatus', criRequests.status(':::')],
      ['ImageStatus', unknownField],
      ['ImageStatus', Buffer.from([0xff, 0xff, 0xff])],
      ['ListImages', criRequests.list('absent.example.com/nothing:1')],
      ['RemoveImage', criRequests.remove(`${image.name}:3`)],
      ['PullImage', criRequests.pull(':::')],
      ['PullImage', Buffer.from([0xff, 0xff, 0xff])],
      ['StreamImages', criRequests.list()],
      ['NoSuchMethod', Buffer.alloc(0)],
    ];
    for (const [method, message] of calls) {
      const [ours, theirs] = await Promise.all(
        [service.socket, containerd.socket].map((socket) => rawCall(socket, imageMethod(method), message)),
      );
      const label = `${method} ${Buffer.from(message).toString('hex')}`;
      assert.deepEqual(ours?.status, theirs?.status, label);
      // The list is in no order.
      const sorted = (answer: typeof ours) => Buffer.from(answer?.bytes ?? []).toSorted();
      assert.deepEqual(sorted(ours), sorted(theirs), label);
      if (method === 'PullImage') assert.ok(ours?.message.startsWith(theirs?.message ?? '?'), ours?.message);
      else assert.equal(ours?.message, theirs?.message, label);
    }
  });

  await t.test('leaves no secret in any output', () => {
    front.assertNoSecretWritten();
    const written = nodes.map(({ service }) => service.output()).join('\n');
    assert.ok(!written.includes(front.passwords.alice), 'a password is in the log');
  });
});
