import assert from 'node:assert/strict';
import type { Credential } from '../../contracts/credential-source.js';
import type { PullProgress, Runtime } from '../../contracts/runtime.js';
import { type Digest, parseDigest } from '../../reference/digest.js';
import { type ImageReference, printImageReference } from '../../reference/image-reference.js';
import {
  closesTwice,
  closing,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface RuntimeSubject {
  readonly runtime: Runtime;
  /** Of the registry, with a tag; not pulled yet. */
  readonly image: ImageReference;
  /** The same image of the same repository, by another tag. */
  readonly twin?: ImageReference;
  /** A tag or a repository that its registry does not have. */
  readonly absent: ImageReference;
  /** An image of a registry that cannot be reached. */
  readonly unreachable?: ImageReference;
  /** An image that is given out for `credential` only. */
  readonly guarded?: {
    readonly image: ImageReference;
    readonly credential: Credential;
    readonly wrong: Credential;
  };
}

const o = options();

/** What every Runtime promises. */
export function describeRuntimeConformance(
  name: string,
  make: MakeSubject<RuntimeSubject>,
  without: readonly string[] = [],
): void {
  suite(
    `Runtime conformance: ${name}`,
    closing(make, ({ runtime }) => runtime),
    { ...images, ...names, ...removals, ...failures },
    without,
  );
}

const images: Record<string, SubjectTest<RuntimeSubject>> = {
  'a pulled image is found by its reference, id and digest, and listed': async ({ runtime, image }) => {
    const name = printImageReference(image);
    assert.equal(await runtime.status(name, o), undefined);
    const id = await runtime.pull(image, o);
    const found = await runtime.status(name, o);
    assert.ok(found, 'the image is absent');
    assert.equal(found.id, id);
    assert.ok(found.size > 0, 'no size');
    assert.ok(found.repoTags.includes(name), 'the tag is missing');
    for (const other of [id, ...found.repoDigests]) assert.equal((await runtime.status(other, o))?.id, id);
    assert.ok(
      (await runtime.list(o)).some((one) => one.id === id),
      'it is not listed',
    );
    assert.deepEqual(
      (await runtime.list({ ...o, image: name })).map((one) => one.id),
      [id],
    );
    await runtime.remove(name, o);
  },
  'pulling again gives the same id': async ({ runtime, image }) => {
    const id = await runtime.pull(image, o);
    assert.equal(await runtime.pull(image, o), id);
    await runtime.remove(id, o);
  },
  'a removed image is gone; what is not there may be removed': async ({ runtime, image }) => {
    const id = await runtime.pull(image, o);
    await runtime.remove(id, o);
    assert.equal(await runtime.status(id, o), undefined);
    assert.equal(await runtime.status(printImageReference(image), o), undefined);
    await runtime.remove(id, o);
    await runtime.remove(printImageReference(image), o);
  },
  'it tells how much of which file system it uses': async ({ runtime }) => {
    const usage = await runtime.fsInfo(o);
    assert.ok(usage.length > 0, 'no file system');
    for (const { timestamp, mountpoint, usedBytes, inodesUsed } of usage) {
      assert.ok(timestamp > Date.parse('2020-01-01'), 'not a time in milliseconds');
      assert.match(mountpoint, /^\//);
      assert.ok(usedBytes >= 0 && inodesUsed >= 0, 'less than nothing is used');
    }
  },
};

const noTwin = 'the subject names no twin: leave this test out by name';

const names: Record<string, SubjectTest<RuntimeSubject>> = {
  'an image is found by its id without the algorithm, and by the beginning of it': async ({
    runtime,
    image,
  }) => {
    const id = await runtime.pull(image, o);
    const hex = id.slice(id.indexOf(':') + 1);
    for (const other of [hex, hex.slice(0, 12), id.slice(0, -20)]) {
      assert.equal((await runtime.status(other, o))?.id, id, other);
      const listed = await runtime.list({ ...o, image: other });
      assert.deepEqual(
        listed.map((one) => one.id),
        [id],
        other,
      );
    }
    await runtime.remove(hex.slice(0, 12), o);
    assert.equal(await runtime.status(id, o), undefined);
  },
  'an image that was pulled by its digest has no tag; the digest counts, whatever tag stands beside it':
    async ({ runtime, image }) => {
      const digest = await digestOfPulled(runtime, image);
      const { repository } = image;
      const byDigest = { repository, digest };
      const id = await runtime.pull(byDigest, o);
      const found = await runtime.status(printImageReference(byDigest), o);
      assert.ok(found, 'the image is absent');
      assert.deepEqual([found.id, found.repoTags], [id, []]);
      assert.deepEqual(found.repoDigests, [printImageReference(byDigest)]);
      const both = { ...image, digest };
      assert.equal(await runtime.pull(both, o), id);
      assert.equal((await runtime.status(printImageReference(both), o))?.id, id);
      assert.equal(await runtime.status(printImageReference(image), o), undefined);
      assert.equal((await runtime.status(digest, o))?.id, id);
      await runtime.remove(printImageReference(both), o);
      assert.equal(await runtime.status(id, o), undefined);
    },
  'what no image can be called is not there': async ({ runtime }) => {
    for (const text of ['', 'UPPER/case', '../../info', 'a b', '<none>:<none>', '?', 'x'.repeat(5000)]) {
      assert.equal(await runtime.status(text, o), undefined, text);
      assert.deepEqual(await runtime.list({ ...o, image: text }), [], text);
      await runtime.remove(text, o);
    }
  },
  'it tells how far a pull is': async ({ runtime, image }) => {
    const told: PullProgress[] = [];
    const id = await runtime.pull(image, { ...o, onProgress: (progress) => told.push(progress) });
    const last = told.at(-1);
    assert.ok(last, 'nothing was told');
    assert.ok(last.layers.total > 0, 'no layer');
    assert.equal(last.layers.done, last.layers.total, 'the last word is not the whole');
    await runtime.remove(id, o);
  },
};

const removals: Record<string, SubjectTest<RuntimeSubject>> = {
  'one image of two tags is listed once, with both': async ({ runtime, image, twin }) => {
    assert.ok(twin, noTwin);
    const id = await runtime.pull(image, o);
    assert.equal(await runtime.pull(twin, o), id);
    const both = [image, twin].map(printImageReference).sort();
    const listed = (await runtime.list(o)).filter((one) => one.id === id);
    assert.deepEqual(
      listed.map(({ repoTags }) => [...repoTags].sort()),
      [both],
    );
    for (const name of both) {
      const [one] = await runtime.list({ ...o, image: name });
      assert.deepEqual([...(one?.repoTags ?? [])].sort(), both, name);
    }
    await runtime.remove(id, o);
  },
  'to remove one tag, digest, id or beginning of it is to remove all of the image': async ({
    runtime,
    image,
    twin,
  }) => {
    assert.ok(twin, noTwin);
    const [name, other] = [printImageReference(image), printImageReference(twin)];
    const forms: readonly ((id: string, digest: string) => string)[] = [
      () => name,
      () => other,
      (_, digest) => `${name.slice(0, name.lastIndexOf(':'))}@${digest}`,
      (id) => id,
      (id) => id.slice(id.indexOf(':') + 1).slice(0, 12),
    ];
    for (const form of forms) {
      const id = await runtime.pull(image, o);
      await runtime.pull(twin, o);
      const [digest = ''] = (await runtime.status(id, o))?.repoDigests ?? [];
      const removed = form(id, digest.slice(digest.indexOf('@') + 1));
      await runtime.remove(removed, o);
      for (const gone of [id, name, other]) {
        assert.equal(await runtime.status(gone, o), undefined, `${gone} after ${removed}`);
      }
    }
  },
  'five who remove the same at once all succeed': async ({ runtime, image }) => {
    const id = await runtime.pull(image, o);
    await Promise.all(Array.from({ length: 5 }, () => runtime.remove(id, o)));
    assert.equal(await runtime.status(id, o), undefined);
  },
};

/** Pulls the image, and removes it again. */
async function digestOfPulled(runtime: Runtime, image: ImageReference): Promise<Digest> {
  const id = await runtime.pull(image, o);
  const [name = ''] = (await runtime.status(id, o))?.repoDigests ?? [];
  await runtime.remove(id, o);
  return parseDigest(name.slice(name.indexOf('@') + 1));
}

const failures: Record<string, SubjectTest<RuntimeSubject>> = {
  'an image that its registry does not have is unknown': async ({ runtime, absent }) => {
    await rejectsWith(() => runtime.pull(absent, o), 'NAME_UNKNOWN', 'MANIFEST_UNKNOWN');
    assert.equal(await runtime.status(printImageReference(absent), o), undefined);
  },
  'a registry that cannot be reached is UNAVAILABLE': async ({ runtime, unreachable }) => {
    assert.ok(unreachable, 'the subject names none: leave this test out by name');
    await rejectsWith(() => runtime.pull(unreachable, o), 'UNAVAILABLE');
  },
  'a guarded image needs its credential': async ({ runtime, guarded }) => {
    assert.ok(guarded, 'the subject names none: leave this test out by name');
    const { image, credential, wrong } = guarded;
    await rejectsWith(() => runtime.pull(image, o), 'UNAUTHORIZED', 'NAME_UNKNOWN');
    await rejectsWith(() => runtime.pull(image, { ...o, credential: wrong }), 'UNAUTHORIZED', 'NAME_UNKNOWN');
    const id = await runtime.pull(image, { ...o, credential });
    assert.equal((await runtime.status(printImageReference(image), o))?.id, id);
    await runtime.remove(id, o);
  },
  'an image that is there, and is refused now, is refused': async ({ runtime, guarded }) => {
    assert.ok(guarded, 'the subject names none: leave this test out by name');
    const { image, credential, wrong } = guarded;
    const id = await runtime.pull(image, { ...o, credential });
    await rejectsWith(() => runtime.pull(image, o), 'UNAUTHORIZED', 'NAME_UNKNOWN');
    await rejectsWith(() => runtime.pull(image, { ...o, credential: wrong }), 'UNAUTHORIZED', 'NAME_UNKNOWN');
    await runtime.remove(id, o);
  },
  'it answers': ({ runtime }) => runtime.ping(o),
  'an aborted call rejects with the reason': async ({ runtime, image }) => {
    const name = printImageReference(image);
    await rejectsWhenAborted((aborted) => runtime.pull(image, aborted));
    await rejectsWhenAborted((aborted) => runtime.status(name, aborted));
    await rejectsWhenAborted((aborted) => runtime.list(aborted));
    await rejectsWhenAborted((aborted) => runtime.remove(name, aborted));
    await rejectsWhenAborted((aborted) => runtime.fsInfo(aborted));
    await rejectsWhenAborted((aborted) => runtime.ping(aborted));
  },
  'it can be closed twice': ({ runtime }) => closesTwice(runtime),
};
