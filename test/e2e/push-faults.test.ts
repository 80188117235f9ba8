import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { bigImage, type FaultEffect, type FaultMatch, type MemoryRegistry } from '../../src/testing/index.js';
import { assertError } from '../harness/assert-error.js';
import { closeUpload, locationOf, openUpload, patchUpload } from '../harness/pushing.js';
import { byHand } from './harness/by-hand.js';
import { type CommandResult, failedWith, succeeded } from './harness/command.js';
import { type Dockerd, startDockerd } from './harness/dockerd.js';
import { type FaultyFrontOptions, logLines, startFaultyFront } from './harness/faulty-front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { requirePrograms } from './harness/require-programs.js';
import { startSeed } from './harness/seed.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

// What a registry can do to a push, as real clients see it. docker tries each layer five times; what says that trying
// again is of no use, and the manifest, it tries once.

const mebibyte = 1024 * 1024;
const session = /\/blobs\/uploads\/[^?]/;
const steps = {
  POST: { method: 'POST' },
  PATCH: { method: 'PATCH' },
  PUT: { method: 'PUT', path: session },
  manifest: { method: 'PUT', path: '/manifests/' },
} as const satisfies Record<string, FaultMatch>;
type Step = keyof typeof steps;

/** docker with an image of a layer of 16 MiB, more than sockets hold, and skopeo with the same. */
async function startPushing(t: TestContext, options: FaultyFrontOptions = {}) {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace, options);
  const { host } = front.proxy;
  const { docker } = await startDockerd(workspace);
  const image = await bigImage({ layers: 1, size: 16 * mebibyte });
  const local = (await startSeed(workspace)).put('big', image);
  succeeded(await docker(['pull', local]));
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', host], { input: front.password }));
  const { directory } = writeOciLayout(workspace, 'big', image);
  const client = skopeo(workspace);
  const copy = ['copy', '--dest-tls-verify=false', '--dest-creds', `alice:${front.password}`];
  return {
    ...front,
    pushWithDocker: (repository: string, o: Parameters<Dockerd['docker']>[1] = {}) =>
      pushAs(docker, local, `${host}/${repository}:1`, o),
    pushWithSkopeo: (repository: string, signal?: AbortSignal) =>
      client([...copy, `oci:${directory}:latest`, `docker://${host}/${repository}:1`], undefined, {
        ...(signal && { signal }),
      }),
    /** The proxy's answers to what a client sent to a repository. */
    answersFor: (repository: string) =>
      logLines(front.proxy, 'access')
        .filter((line) => line.repository === repository)
        .map(({ status }) => status),
  };
}

async function pushAs(
  docker: Dockerd['docker'],
  local: string,
  target: string,
  o: Parameters<Dockerd['docker']>[1],
): Promise<CommandResult> {
  succeeded(await docker(['tag', local, target]));
  return docker(['push', target], o);
}

test('an upstream that fails under a push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const pushing = await startPushing(t);
  const { proxy, registry, password, pushWithDocker, pushWithSkopeo, answersFor } = pushing;
  const isThere = (repository: string) => registry.store.manifest(repository, '1') !== undefined;
  let count = 0;

  /** Makes something go wrong in a repository that nobody used before. */
  function inject(t: TestContext, step: Step, effect: FaultEffect, times?: number) {
    const repository = `team/app-${++count}`;
    const inRepository = { ...steps[step] };
    const { method, path } = inRepository as FaultMatch;
    const matches = (text: string) =>
      path === undefined || (typeof path === 'string' ? text.includes(path) : path.test(text));
    const repair = registry.faults.add(
      (request) =>
        request.method === method && matches(request.path) && request.path.includes(`/${repository}/`),
      effect,
      times,
    );
    t.after(repair);
    return { repository, repair };
  }

  for (const [step, status] of [
    ['POST', 500],
    ['POST', 401],
    ['PATCH', 503],
    ['PATCH', 500],
    ['PUT', 502],
  ] as const) {
    await t.test(`answers ${status} to a ${step}: docker tries again`, async (t) => {
      const answer = { status, body: '<html>a page full of internals</html>' };
      const { repository } = inject(t, step, { answer }, 1);
      const { output } = succeeded(await pushWithDocker(repository));
      assert.doesNotMatch(output, /internals|html/);
      assert.equal(answersFor(repository).filter((one) => one === 503).length, 1, 'nothing went wrong');
      assert.ok(isThere(repository), 'it is not there');
    });
  }

  await t.test('cuts a PATCH: docker tries again', async (t) => {
    const { repository, repair } = inject(t, 'PATCH', { resetAfter: 4 * mebibyte });
    const pushed = pushWithDocker(repository);
    await wasCut(registry, repository);
    repair();
    succeeded(await pushed);
    assert.ok(answersFor(repository).includes(503), 'nothing went wrong');
    assert.ok(isThere(repository), 'it is not there');
  });

  await t.test('cuts a PATCH: skopeo says so, and can be run again', async (t) => {
    const { repository, repair } = inject(t, 'PATCH', { resetAfter: 4 * mebibyte });
    failedWith(await pushWithSkopeo(repository), /unavailable|503|EOF|reset|broken pipe/i);
    assert.equal(isThere(repository), false);
    repair();
    succeeded(await pushWithSkopeo(repository));
    assert.ok(isThere(repository), 'it is not there');
  });

  await t.test('answers 500 to a manifest: docker says so, and pushes no layer again', async (t) => {
    const { repository, repair } = inject(t, 'manifest', { answer: { status: 500 } });
    failedWith(await pushWithDocker(repository), /unavailable|503/i);
    repair();
    const { output } = succeeded(await pushWithDocker(repository));
    assert.equal(output.match(/: Layer already exists/g)?.length, 2, output);
  });

  for (const step of ['POST', 'PATCH', 'PUT', 'manifest'] as const) {
    await t.test(`answers 429 to a ${step}: docker is told, and the next push works`, async (t) => {
      const answer = { status: 429, headers: { 'retry-after': '1' }, body: 'slow down' };
      const { repository, repair } = inject(t, step, { answer });
      failedWith(await pushWithDocker(repository), /toomanyrequests|too many/i);
      repair();
      succeeded(await pushWithDocker(repository));
    });

    await t.test(`a quota refuses a ${step}: docker shows the upstream’s words`, async (t) => {
      const message = 'adding 16 MiB will exceed the configured upper limit of 1 GiB';
      const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
      const { repository } = inject(t, step, { answer: { status: 403, body } });
      failedWith(await pushWithDocker(repository), new RegExp(`denied: ${message}`));
      assert.equal(isThere(repository), false);
    });
  }

  await t.test('refuses a digest that is not the content’s: the client is told so', async () => {
    const ask = byHand(proxy, password);
    const bytes = Buffer.from('hello');
    const patched = await patchUpload(ask, await openUpload(ask, 'team/wrong'), bytes);
    const other = digestOf(Buffer.from('olleh'));
    assertError(await closeUpload(ask, locationOf(patched), other), 400, 'DIGEST_INVALID');
    for (const digest of [digestOf(bytes), other]) {
      assertError(await ask(`/v2/team/wrong/blobs/${digest}`), 404, 'NAME_UNKNOWN');
    }
  });
});

/** Waits until a fault has cut an upload to a repository. */
function wasCut(registry: MemoryRegistry, repository: string) {
  const isCut: Parameters<MemoryRegistry['waitFor']>[0] = (request) =>
    request.method === 'PATCH' &&
    request.path.includes(`/${repository}/`) &&
    request.receivedBytes >= 4 * mebibyte;
  return registry.waitFor(isCut, 60_000);
}

test('an upstream’s token that ends in mid-push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const { registry, pushWithDocker, pushWithSkopeo, answersFor } = await startPushing(t, { auth: 'token' });

  for (const [client, push] of [
    ['docker', pushWithDocker],
    ['skopeo', pushWithSkopeo],
  ] as const) {
    for (const step of Object.keys(steps) as Step[]) {
      const isStreamed = step === 'PATCH';
      const name = `before a ${step}: ${client} ${isStreamed ? 'has to try again' : 'does not notice'}`;
      await t.test(name, async () => {
        const repository = `${client}/${step.toLowerCase()}`;
        const wasRefused = revokeBefore(registry, step);
        const pushed = await push(repository);
        assert.ok(wasRefused(), 'the token was never refused');
        if (isStreamed && client === 'skopeo') {
          failedWith(pushed, /unavailable|503/i);
          succeeded(await push(repository));
        } else succeeded(pushed);
        const failures = answersFor(repository).filter((status) => status === 503).length;
        assert.equal(failures > 0, isStreamed, `${failures} answers were 503`);
        assert.ok(registry.store.manifest(repository, '1'), 'it is not there');
      });
    }
  }
});

/** Revokes all tokens just as a request for a step arrives, once. @returns whether that was answered with a 401 */
function revokeBefore(registry: MemoryRegistry, step: Step): () => boolean {
  const { method, path } = steps[step] as FaultMatch;
  const matches = (text: string) =>
    path === undefined || (typeof path === 'string' ? text.includes(path) : path.test(text));
  let refused: MemoryRegistry['requests'][number] | undefined;
  const stop = registry.faults.add((request) => {
    if (refused !== undefined || request.method !== method || !matches(request.path)) return false;
    refused = request;
    registry.revokeTokens();
    return false; // only to be told
  }, {});
  return () => {
    stop();
    return refused?.status === 401;
  };
}
