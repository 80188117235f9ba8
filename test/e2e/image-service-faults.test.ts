import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { bigImage, type ImageFiles, startMemoryRegistry } from '../../src/testing/index.js';
import { run, succeeded } from './harness/command.js';
import { CriClient } from './harness/cri-client.js';
import { startCriContainerd } from './harness/cri-containerd.js';
import { configurationOf, imageWithUser } from './harness/cri-images.js';
import { startDockerd } from './harness/dockerd.js';
import { probe, startImageService } from './harness/image-service.js';
import { requirePrograms } from './harness/require-programs.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

// What goes wrong on a node, and what kubelet sees of it. The registry is one that can be told what to do wrong.

const mebibyte = 1024 * 1024;
const password = 'k3pt-in-the-house';
const silentAddress = '127.0.0.1:1'; // nobody is there

test('what goes wrong', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr', 'docker', 'dockerd')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const registry = await startMemoryRegistry({ auth: { kind: 'token', username: 'robot', password } });
  const open = await startMemoryRegistry();
  for (const one of [registry, open]) workspace.onClose(() => one.close());
  // Small: it is to be full in one of the tests.
  const disk = workspace.path('disk');
  mkdirSync(disk);
  const mount = ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', disk];
  succeeded(await run('mount', mount, { env: workspace.environment() }));
  const [containerd, dockerd] = await Promise.all([
    startCriContainerd(workspace, { root: disk }),
    startDockerd(workspace, { 'max-download-attempts': 1 }),
  ]);
  const sleeper = workspace.file('helpers/sleeper', '#!/bin/sh\nexec sleep 60\n');
  chmodSync(sleeper, 0o700);
  const helper = (command: readonly string[]) => ({
    ...{ type: 'exec', protocol: 'docker-credential-helper', command },
  });
  const sources = {
    slow: helper([sleeper]),
    failing: helper(['/bin/false']),
    absent: { type: 'kubernetes-token', file: 'no-such-token' },
    'down/metadata': { type: 'gcp-identity' },
  };
  const settings = {
    credentialTimeout: '1s',
    images: [
      ...Object.entries(sources).flatMap(([place, credentials]) =>
        [registry, open].map(({ host }) => ({ match: `${host}/${place}`, credentials })),
      ),
      {
        match: `${registry.host}/**`,
        credentials: { type: 'static', username: 'robot', password: { file: 'password' } },
      },
    ],
  };
  const start = async (kind: 'cri' | 'docker') => {
    const name = `${kind}-node`;
    const endpoint = `unix://${kind === 'cri' ? containerd.socket : dockerd.socket}`;
    workspace.file(`${name}/password`, password);
    const runtime = { type: kind, endpoint };
    const env = { GCE_METADATA_HOST: silentAddress };
    const service = await startImageService(workspace, { runtime, ...settings }, { name, env });
    return { kind, service, endpoint, client: new CriClient(workspace, service.socket) };
  };
  const nodes = await Promise.all([start('cri'), start('docker')]);

  const put = (name: string, image: ImageFiles = imageWithUser(name)) => {
    registry.putImage(name, '1', image);
    return { reference: `${registry.host}/${name}:1`, id: configurationOf(image).digest, image };
  };
  /** One with a layer that takes the registry a while. */
  const putBig = async (name: string, seed: number) => {
    const big = put(name, await bigImage({ layers: 1, size: mebibyte, seed, message: name }));
    const { layers } = JSON.parse(big.image.root.bytes.toString('utf8')) as {
      layers: readonly { digest: string }[];
    };
    return { ...big, layer: layers.at(-1)?.digest ?? '' };
  };
  const failure = async (promise: Promise<unknown>): Promise<ConnectError> => {
    const error = await promise.then(
      (value) => assert.fail(`no failure: ${String(value)}`),
      (reason: unknown) => ConnectError.from(reason),
    );
    assert.doesNotMatch(error.rawMessage, /[\r\n]/, 'one line');
    assert.ok(!error.rawMessage.includes(password), 'a password is in the text');
    return error;
  };
  /** A pull that the registry holds up in mid-blob. */
  const begin = async (client: CriClient, { reference, layer }: Awaited<ReturnType<typeof putBig>>) => {
    const repair = registry.faults.add({ path: layer }, { stallAfter: mebibyte / 2 });
    const stop = new AbortController();
    const pulling = client.pull(reference, {}, { signal: stop.signal });
    pulling.catch(() => undefined);
    const isStalled = () =>
      registry.requests.some(({ path, sentBytes }) => path.includes(layer) && sentBytes > 0);
    assert.ok(await waitFor(isStalled, 20_000), 'the registry was not asked for the layer');
    return { pulling, stop, repair };
  };

  for (const { kind, client, service, endpoint } of nodes) {
    const runtime = kind === 'cri' ? containerd : dockerd;

    for (const place of Object.keys(sources)) {
      await t.test(`${kind}: a credential source is ${place}: public images come all the same`, async () => {
        const image = imageWithUser(`${place} ${kind}`);
        open.putImage(place, kind, image);
        // A helper of its own may take 20 s; the limit here is one.
        const pulled = await client.pull(`${open.host}/${place}:${kind}`, {}, { timeoutMs: 10_000 });
        assert.equal(pulled, configurationOf(image).digest);
        const warnings = service.log().filter(({ level }) => level === 40 || level === 'warn');
        assert.ok(JSON.stringify(warnings).includes(`${open.host}/${place}`), 'nobody is warned');
      });

      await t.test(`${kind}: a credential source is ${place}: a private image's error says so`, async () => {
        registry.putImage(place, kind, imageWithUser(`${place} ${kind}`));
        const { rawMessage } = await failure(client.pull(`${registry.host}/${place}:${kind}`));
        const type = sources[place as keyof typeof sources].type;
        assert.ok(rawMessage.includes(type) && rawMessage.includes(`${registry.host}/${place}`), rawMessage);
      });
    }

    const answers = [
      { status: 401, codes: [Code.Unknown, Code.Unauthenticated, Code.PermissionDenied] },
      { status: 403, codes: [Code.Unknown, Code.PermissionDenied] },
      { status: 429, codes: [Code.Unknown, Code.ResourceExhausted] },
      { status: 500, codes: [Code.Unknown] },
      { status: 503, codes: [Code.Unknown], docker: /^RegistryUnavailable: / },
    ] as const;
    for (const { status, codes, ...said } of answers) {
      await t.test(`${kind}: the registry answers ${status}`, async (t) => {
        const name = `answers/${kind}-${status}`;
        const { reference, id } = put(name);
        const body = '<html>internals</html>';
        const answer = { status, headers: { 'content-type': 'text/html' }, body };
        const repair = registry.faults.add({ path: `/v2/${name}/` }, { answer });
        t.after(repair);
        const error = await failure(client.pull(reference));
        assert.ok(
          codes.some((code) => code === error.code),
          `${Code[error.code]}: ${error.rawMessage}`,
        );
        assert.ok(error.rawMessage.includes(registry.host), error.rawMessage);
        if (kind === 'docker' && 'docker' in said) assert.match(error.rawMessage, said.docker);
        repair();
        assert.equal(await client.pull(reference), id);
      });
    }

    // Docker says it in the middle of an answer that began well; what the tag was before is still there.
    await t.test(`${kind}: the registry cuts a layer of what a tag is now`, async (t) => {
      const name = `cut/${kind}`;
      const before = put(name);
      assert.equal(await client.pull(before.reference), before.id);
      const { reference, id, layer } = await putBig(name, kind === 'cri' ? 1 : 2);
      // What comes at all containerd adds up, with ranges.
      const repair = registry.faults.add({ path: layer }, { cutAfter: 0 });
      t.after(repair);
      await failure(client.pull(reference));
      assert.equal((await client.status(reference))?.id, before.id);
      repair();
      assert.equal(await client.pull(reference), id);
    });

    await t.test(`${kind}: whoever asked goes away in mid-pull`, async () => {
      const big = await putBig(`cancelled/${kind}`, kind === 'cri' ? 3 : 4);
      const { pulling, stop, repair } = await begin(client, big);
      assert.equal((await service.status()).running.length, 1);
      stop.abort();
      assert.equal((await failure(pulling)).code, Code.Canceled);
      const released = () =>
        registry.requests.some(({ path, closedEarly }) => path.includes(big.layer) && closedEarly);
      // Docker 20.10 keeps a connection until the next byte comes.
      if (kind === 'cri') assert.ok(await waitFor(released, 20_000), 'the runtime goes on pulling');
      assert.ok(await waitFor(async () => (await service.status()).running.length === 0, 10_000), 'it runs');
      repair();
      assert.equal(await client.pull(big.reference), big.id);
    });

    await t.test(`${kind}: the runtime is killed, and comes back`, async () => {
      const { reference, id } = put(`killed/${kind}`);
      assert.equal(await client.pull(reference), id);
      await runtime.kill();
      try {
        const error = await failure(client.pull(reference, {}, { timeoutMs: 1000 }));
        assert.ok([Code.Unavailable, Code.DeadlineExceeded].includes(error.code), error.message);
        assert.ok(service.isRunning(), 'it ends with the runtime');
      } finally {
        await runtime.start();
      }
      const isBack = async () => (await client.status(reference))?.id === id;
      assert.ok(await waitFor(isBack, 15_000), 'it does not find the runtime again');
    });

    await t.test(`${kind}: the runtime is killed in mid-pull`, async () => {
      const big = await putBig(`killed-pulling/${kind}`, kind === 'cri' ? 5 : 6);
      const { pulling, repair } = await begin(client, big);
      await runtime.kill();
      try {
        const error = await failure(pulling);
        assert.equal(error.code, Code.Unavailable, error.message);
        assert.ok(error.rawMessage.includes(endpoint), error.rawMessage);
      } finally {
        repair();
        await runtime.start();
      }
      assert.equal(await client.pull(big.reference), big.id);
    });

    await t.test(`${kind}: the socket is removed, and its directory`, async () => {
      const directory = workspace.path(`${kind}-node`, 'run');
      for (const gone of [service.socket, directory]) {
        rmSync(gone, { recursive: true });
        await client.list(); // a connection that was there stays
        const answers = async () => (await probe(workspace, service.socket, '2s')).code === 0;
        assert.ok(await waitFor(answers, 20_000), `${gone} does not come back`);
        assert.equal(statSync(service.socket).mode & 0o777, 0o600);
        assert.equal(statSync(directory).mode & 0o777, 0o700);
      }
    });

    await t.test(`${kind}: a second instance leaves the first alone, and says why`, async () => {
      const runtimeSettings = { type: kind, endpoint };
      const second = startImageService(
        workspace,
        { runtime: runtimeSettings, listen: `unix://${service.socket}` },
        { name: `${kind}-second` },
      );
      await assert.rejects(second, (error: Error) => {
        assert.ok(error.message.includes(service.socket), error.message);
        assert.doesNotMatch(error.message, /^\s+at /m, 'a stack is no message');
        return true;
      });
      assert.equal((await probe(workspace, service.socket)).code, 0);
    });

    await t.test(`${kind}: told to stop in mid-pull, it finishes the pull and serves meanwhile`, async () => {
      const big = await putBig(`stopped/${kind}`, kind === 'cri' ? 7 : 8);
      const repair = registry.faults.add({ path: big.layer }, { delay: 3000 });
      const pulling = client.pull(big.reference);
      pulling.catch(() => undefined);
      const isAsked = () => registry.requests.some(({ path }) => path.includes(big.layer));
      assert.ok(await waitFor(isAsked, 20_000), 'the registry was not asked for the layer');
      process.kill(service.pid(), 'SIGTERM');
      await client.list();
      assert.equal((await probe(workspace, service.socket)).code, 0, 'it serves nobody new');
      assert.equal(await pulling, big.id);
      repair();
      assert.ok(await waitFor(() => !service.isRunning(), 15_000), 'it does not end');
      await service.start();
      assert.equal((await client.status(big.reference))?.id, big.id);
    });
  }

  await t.test('cri: a disk without space is told as such, and is no end', async () => {
    const [{ client } = assert.fail('no node')] = nodes;
    const { reference } = put('full/big', await bigImage({ layers: 1, size: 64 * mebibyte, seed: 9 }));
    assert.match((await failure(client.pull(reference))).rawMessage, /no space left on device/);
    const small = put('full/small');
    const pulls = async () => (await client.pull(small.reference)) === small.id;
    assert.ok(await waitFor(pulls, 30_000), 'containerd cannot pull any more');
  });

  await t.test('no secret is in any output', () => {
    for (const { service } of nodes) assert.ok(!service.output().includes(password), 'it is in the log');
  });
});
