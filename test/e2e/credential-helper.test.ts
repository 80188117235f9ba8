import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommandResult, failedWith, run, succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { refuseSecrets, startFront } from './harness/front.js';
import { startMachines } from './harness/machines.js';
import { podman } from './harness/podman.js';
import { proxyAddress } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Real clients pull with nothing but what their machine is, and `docker-credential-registry-proxy` on their PATH.

const refused = /denied|unauthorized|authentication required|insufficient/i;
const insecure = '--tls-verify=false';

test('docker, skopeo and podman on machines of clouds', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'skopeo', 'podman')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const address = await proxyAddress();
  const { host } = address;
  const machines = await startMachines(workspace, host);
  const settings = {
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }, ...machines.verifiers],
    policy: [
      {
        names: machines.verifiers.map(({ id }) => `${id}:*`),
        repositories: ['closed/**'],
        actions: ['pull'],
      },
      { names: ['local:alice'], repositories: ['**'], actions: ['pull'] },
    ],
  };
  const { proxy, image, passwords } = await startFront(workspace, { address, settings });
  const dockerd = await startDockerd(workspace);
  const helpers = JSON.stringify({ credHelpers: { [host]: 'registry-proxy' } }, undefined, 2);
  const ours = machines.all.filter(({ isOurs }) => isOurs);
  const strange = machines.all.filter(({ isOurs }) => !isOurs);
  const reference = `${host}/closed/tiny:1`;
  const output: string[] = [];

  /** docker as it is used on a machine, with a config.json of two lines. */
  const dockerAt = (machine: Workspace, name: string) => {
    workspace.file(`${name}/docker/config.json`, helpers);
    const env = machine.environment({
      DOCKER_HOST: `unix://${dockerd.socket}`,
      DOCKER_CONFIG: workspace.path(name, 'docker'),
      DOCKER_BUILDKIT: '0',
    });
    return async (args: readonly string[], input?: string): Promise<CommandResult> => {
      const done = await run('docker', args, { env, ...(input !== undefined && { input }) });
      output.push(done.output);
      return done;
    };
  };

  /** docker leaves an entry that says no more than that somebody logged in. */
  const assertNothingKept = (file: string) => {
    const { auths, ...rest } = JSON.parse(workspace.read(file)) as { auths?: Record<string, object> };
    assert.deepEqual(rest, JSON.parse(helpers));
    assert.deepEqual(Object.values(auths ?? {}).flatMap(Object.keys), [], 'something is kept');
  };

  for (const { kind, workspace: machine } of ours) {
    await t.test(`docker pulls on a machine of ${kind}, with two lines in its config.json`, async () => {
      const docker = dockerAt(machine, `${kind}-docker`);
      const pulled = succeeded(await docker(['pull', reference]));
      assert.ok(pulled.stdout.includes(image.digest), pulled.stdout);
      succeeded(await docker(['image', 'rm', '--force', reference]));
      assertNothingKept(`${kind}-docker/docker/config.json`);
    });
  }

  const [{ workspace: one } = assert.fail('no machine')] = ours;

  await t.test('docker logs in without being told who, and keeps nothing', async () => {
    const docker = dockerAt(one, 'login-docker');
    const { output } = succeeded(await docker(['login', host]));
    assert.match(output, /Login Succeeded/);
    assertNothingKept('login-docker/docker/config.json');
    succeeded(await docker(['logout', host]));
    assertNothingKept('login-docker/docker/config.json');
  });

  await t.test('skopeo and podman pull', async () => {
    const copier = skopeo(one, 'one-skopeo');
    workspace.file('one-skopeo/auth.json', helpers);
    const inspected = succeeded(await copier(['inspect', insecure, `docker://${reference}`]));
    assert.equal((JSON.parse(inspected.stdout) as { Digest?: string }).Digest, image.digest);

    const byAuthFile = podman(one, 'one-podman');
    workspace.file('one-podman/auth.json', helpers);
    succeeded(await byAuthFile.podman(['pull', insecure, reference]));
  });

  await t.test('podman and skopeo find it by registries.conf too, and log in', async () => {
    const conf = 'credential-helpers = ["containers-auth.json", "registry-proxy"]\n';
    const copier = skopeo(one, 'conf-skopeo');
    // Version 1.9 does not know CONTAINERS_REGISTRIES_CONF.
    const option = ['--registries-conf', workspace.file('conf-skopeo/registries.conf', conf)];
    succeeded(await copier([...option, 'inspect', insecure, `docker://${reference}`]));
    const puller = podman(one, 'conf-podman');
    workspace.file('conf-podman/registries.conf', conf);
    succeeded(await puller.podman(['pull', insecure, reference]));
    const byAuthFile = podman(one, 'login-podman');
    workspace.file('login-podman/auth.json', helpers);
    succeeded(await byAuthFile.podman(['login', insecure, host]));
    assertNothingKept('login-podman/auth.json');
  });

  for (const { verifier, kind, of, workspace: machine } of strange) {
    await t.test(`a machine of strangers in ${kind} is refused, and the log says whose it is`, async () => {
      const before = proxy.output().length;
      failedWith(await dockerAt(machine, `${kind}-strange-docker`)(['pull', reference]), refused);
      const isTold = () =>
        proxy
          .output()
          .slice(before)
          .split('\n')
          .some((line) => line.includes(`"${verifier}"`) && line.includes(of));
      assert.ok(await waitFor(isTold, 10_000), `not told of ${of}:\n${proxy.output().slice(before)}`);
    });
  }

  await t.test('skopeo on a machine of strangers is refused too', async () => {
    const [{ workspace: machine } = assert.fail('no machine')] = strange;
    const copier = skopeo(machine, 'strange-skopeo');
    workspace.file('strange-skopeo/auth.json', helpers);
    failedWith(await copier(['inspect', insecure, `docker://${reference}`]), refused);
  });

  await t.test('a machine of ours gets no more than rules allow', async () => {
    failedWith(await dockerAt(one, 'denied-docker')(['pull', `${host}/open/tiny:1`]), refused);
  });

  await t.test('somebody who logs in as somebody else is told that nothing is kept', async () => {
    const login = ['login', '-u', 'alice', '--password-stdin', host];
    failedWith(await dockerAt(one, 'alice-docker')(login, passwords.alice), /keeps no passwords/);
  });

  await t.test('on a machine of no cloud, clients show what the helper says', async () => {
    // docker itself drops it, and shows what stands on standard error.
    const said = /no identity that is known here; tried Kubernetes/;
    failedWith(await dockerAt(machines.nowhere, 'nowhere-docker')(['pull', reference]), said);
    const copier = skopeo(machines.nowhere, 'nowhere-skopeo');
    workspace.file('nowhere-skopeo/auth.json', helpers);
    failedWith(await copier(['inspect', insecure, `docker://${reference}`]), said);
  });

  await t.test('metadata servers were really asked who it is, by their rules', () => {
    const asked = machines.asked().join('\n');
    for (const one of [
      /^PUT \/latest\/api\/token$/m,
      /^GET \/latest\/meta-data\/iam\/security-credentials\//m,
      /^GET \/latest\/dynamic\/instance-identity\/rsa2048$/m,
      /^\/computeMetadata\/v1\/instance\/service-accounts\/default\/identity\?audience=[^\n]*&format=full/m,
      /^\/metadata\/attested\/document\?[^\n]*nonce=[0-9a-f]{32}/m,
      /^\/metadata\/identity\/oauth2\/token\?[^\n]*resource=api%3A%2F%2Fdocker-registry-proxy/m,
    ])
      assert.match(asked, one);
    assert.doesNotMatch(asked, /without a session/);
  });

  await t.test('nothing of what they showed is in the log, or in what docker says', () => {
    const secrets = machines.secrets();
    assert.ok(secrets.length > 20, `${secrets.length} secrets`);
    refuseSecrets(proxy.output(), secrets);
    refuseSecrets(output.join('\n'), secrets);
    assert.doesNotMatch(proxy.output() + output.join('\n'), /drp-id1\.|X-Amz-Signature=/);
  });
});
