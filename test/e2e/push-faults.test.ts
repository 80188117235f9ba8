import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import type { FaultEffect, LoggedRequest, MemoryRegistry } from '../../src/testing/index.js';
import { assertError } from '../harness/assert-error.js';
import { closeUpload, locationOf, openUpload, patchUpload } from '../harness/pushing.js';
import { byHand } from './harness/by-hand.js';
import { failedWith, succeeded } from './harness/command.js';
import { startFaultyFront } from './harness/faulty-front.js';
import { startPushers } from './harness/pushers.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

// What a registry can do to a push, as real clients see it. docker tries each layer five times; the configuration, the
// manifest, and what says that it is of no use, it tries once. Of an answer from 500 on it shows the status alone.

const mebibyte = 1024 * 1024;
/** More than the sockets of a connection hold. */
const large = 16 * mebibyte;

const steps = {
  POST: ({ method }) => method === 'POST',
  PATCH: ({ method }) => method === 'PATCH',
  PUT: ({ method, path }) => method === 'PUT' && path.includes('/blobs/uploads/'),
  manifest: ({ method, path }) => method === 'PUT' && path.includes('/manifests/'),
} as const satisfies Record<string, (request: LoggedRequest) => boolean>;
type Step = keyof typeof steps;
const allSteps = Object.keys(steps) as readonly Step[];

test('an upstream that fails under a push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace);
  const { proxy, registry, password } = front;
  const { withDocker, withSkopeo, newImage, answersFor } = await startPushers(workspace, front);
  const isThere = (repository: string) => registry.store.manifest(repository, '1') !== undefined;
  let repositories = 0;

  /** Makes a step go wrong in a repository that nobody has used before. */
  function inject(t: TestContext, step: Step, effect: FaultEffect, times?: number) {
    const repository = `team/app-${++repositories}`;
    const inRepository = ({ path }: LoggedRequest) => path.includes(`/${repository}/`);
    const match = (request: LoggedRequest) => steps[step](request) && inRepository(request);
    const repair = registry.faults.add(match, effect, times);
    t.after(repair);
    const wasCut = () => registry.waitFor((one) => match(one) && one.receivedBytes >= 4 * mebibyte, 60_000);
    return { repository, repair, wasCut };
  }

  for (const [step, status] of [
    ['POST', 500],
    // Of an open registry: it is broken, and the client must not be asked for a login.
    ['POST', 401],
    ['PATCH', 503],
    ['PATCH', 500],
    ['PUT', 502],
  ] as const) {
    await t.test(`answers ${status} to a ${step}: docker tries again`, async (t) => {
      const answer = { status, body: '<html>a page full of internals</html>' };
      const { repository } = inject(t, step, { answer }, 1);
      const { output } = succeeded(await withDocker(await newImage(large), repository));
      assert.doesNotMatch(output, /internals|html/);
      assert.equal(answersFor(repository).filter((one) => one === 503).length, 1, 'nothing went wrong');
      assert.ok(isThere(repository), 'it is not there');
    });
  }

  await t.test('cuts a PATCH: docker tries again', async (t) => {
    const { repository, repair, wasCut } = inject(t, 'PATCH', { resetAfter: 4 * mebibyte });
    const pushed = withDocker(await newImage(large), repository);
    await wasCut();
    repair();
    succeeded(await pushed);
    assert.ok(answersFor(repository).includes(503), 'nothing went wrong');
    assert.ok(isThere(repository), 'it is not there');
  });

  await t.test('cuts a PATCH: skopeo says so, and can be run again', async (t) => {
    const { repository, repair } = inject(t, 'PATCH', { resetAfter: 4 * mebibyte });
    const image = await newImage(large);
    failedWith(await withSkopeo(image, repository), /unavailable|503|EOF|reset|broken pipe/i);
    assert.equal(isThere(repository), false);
    repair();
    succeeded(await withSkopeo(image, repository));
    assert.ok(isThere(repository), 'it is not there');
  });

  await t.test('answers 500 to a manifest: docker says so, and pushes no layer again', async (t) => {
    const { repository, repair } = inject(t, 'manifest', { answer: { status: 500 } });
    const image = await newImage(mebibyte);
    failedWith(await withDocker(image, repository), /503/);
    repair();
    const { output } = succeeded(await withDocker(image, repository));
    assert.equal(output.match(/: Layer already exists/g)?.length, 2, output);
  });

  for (const step of allSteps) {
    await t.test(`answers 429 to a ${step}: docker is told, and the next push works`, async (t) => {
      const answer = { status: 429, headers: { 'retry-after': '1' }, body: 'slow down' };
      const { repository, repair } = inject(t, step, { answer });
      const image = await newImage(mebibyte);
      failedWith(await withDocker(image, repository), /toomanyrequests|too many/i);
      repair();
      succeeded(await withDocker(image, repository));
    });

    await t.test(`a quota refuses a ${step}: docker shows the upstream’s words`, async (t) => {
      const message = 'adding 16 MiB will exceed the configured upper limit of 1 GiB';
      const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
      const { repository } = inject(t, step, { answer: { status: 403, body } });
      failedWith(await withDocker(await newImage(mebibyte), repository), new RegExp(`denied: ${message}`));
      assert.equal(isThere(repository), false);
    });
  }

  await t.test('refuses a digest that is not the content’s: the client is told so', async () => {
    const ask = byHand(proxy, password);
    const bytes = Buffer.from('hello');
    const other = digestOf(Buffer.from('olleh'));
    const patched = await patchUpload(ask, await openUpload(ask, 'team/wrong'), bytes);
    assertError(await closeUpload(ask, locationOf(patched), other), 400, 'DIGEST_INVALID');
    for (const digest of [digestOf(bytes), other]) {
      assert.equal((await ask(`/v2/team/wrong/blobs/${digest}`)).status, 404);
    }
  });
});

test('an upstream’s token that ends in mid-push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace, { auth: 'token' });
  const { withDocker, withSkopeo, newImage, answersFor } = await startPushers(workspace, front);

  for (const [client, push] of [
    ['docker', withDocker],
    ['skopeo', withSkopeo],
  ] as const) {
    for (const step of allSteps) {
      // A streamed body cannot be sent twice.
      const isStreamed = step === 'PATCH';
      const what = !isStreamed ? 'does not notice' : client === 'docker' ? 'tries again' : 'can be run again';
      await t.test(`before a ${step}: ${client} ${what}`, async () => {
        const repository = `${client}/${step.toLowerCase()}`;
        const image = await newImage(large);
        const wasRefused = revokeBefore(front.registry, step);
        const pushed = await push(image, repository);
        assert.ok(wasRefused(), 'the token was never refused');
        if (isStreamed && client === 'skopeo') {
          failedWith(pushed, /503|unavailable/i);
          succeeded(await push(image, repository));
        } else succeeded(pushed);
        const failures = answersFor(repository).filter((status) => status >= 500).length;
        assert.equal(failures > 0, isStreamed, `${failures} answers were failures`);
        assert.ok(front.registry.store.manifest(repository, '1'), 'it is not there');
      });
    }
  }
});

/** Revokes all tokens just as a request for a step arrives, once. @returns whether that was answered with a 401 */
function revokeBefore(registry: MemoryRegistry, step: Step): () => boolean {
  // The configuration's, after both layers': a layer sent beside it would be cut as a streamed body, and a token that
  // is refused although it was had for this very request is no stale one.
  let left = step === 'POST' || step === 'PUT' ? 2 : 0;
  let refused: LoggedRequest | undefined;
  const stop = registry.faults.add((request) => {
    if (refused !== undefined || !steps[step](request) || left-- > 0) return false;
    refused = request;
    registry.revokeTokens();
    return false; // only to be told of it
  }, {});
  return () => {
    stop();
    return refused?.status === 401;
  };
}
