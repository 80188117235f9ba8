import assert from 'node:assert/strict';
import type { Credential } from '../../contracts/credential-source.js';
import type { Runtime } from '../../contracts/runtime.js';
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
    { ...images, ...failures },
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
  'an aborted call rejects with the reason': async ({ runtime, image }) => {
    const name = printImageReference(image);
    await rejectsWhenAborted((aborted) => runtime.pull(image, aborted));
    await rejectsWhenAborted((aborted) => runtime.status(name, aborted));
    await rejectsWhenAborted((aborted) => runtime.list(aborted));
    await rejectsWhenAborted((aborted) => runtime.remove(name, aborted));
    await rejectsWhenAborted((aborted) => runtime.fsInfo(aborted));
  },
  'it can be closed twice': ({ runtime }) => closesTwice(runtime),
};
