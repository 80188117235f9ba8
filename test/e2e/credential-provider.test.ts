import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { KubeletProviders, type Login, type PodOfKubelet } from '../harness/kubelet-providers.js';
import { startKubernetesApi } from '../identity/harness/kubernetes-api.js';
import { failedWith, run, succeeded } from './harness/command.js';
import { refuseSecrets, startFront } from './harness/front.js';
import { proxyAddress } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// `kubelet-image-service credential-provider` as kubelet runs it: by the configuration it prints, from links in a directory.
// What it answers is shown to our own proxy, whose `kubernetes` verifier judges it.

const root = fileURLToPath(new URL('../..', import.meta.url));
const refused = /denied|unauthorized|authentication required|insufficient/i;

/** The program as it is installed: one executable file. */
function install(workspace: Workspace): string {
  const command =
    process.env.TEST_BUILT === '1'
      ? [join(root, 'dist/bin/kubelet-image-service.js')]
      : ['--import', import.meta.resolve('tsx'), join(root, 'src/bin/kubelet-image-service.ts')];
  const words = [process.execPath, ...command].map((word) => `'${word}'`).join(' ');
  const file = workspace.file('installed/kubelet-image-service', `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(file, 0o700);
  return file;
}

test('kubelet pulls as the pod it pulls for', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const address = await proxyAddress();
  const { host } = address;
  const cluster = await startKubernetesApi(t);
  const verifier = { id: 'cluster', type: 'kubernetes', issuer: cluster.issuer, ca: cluster.caFile };
  const settings = {
    verifiers: [
      { id: 'local', type: 'htpasswd', file: 'users.htpasswd' },
      { ...verifier, audiences: ['registry'] },
    ],
    policy: [
      { names: ['cluster:web/default'], repositories: ['closed/**'], actions: ['pull'] },
      { names: ['local:alice'], repositories: ['open/**'], actions: ['pull'] },
    ],
  };
  const { proxy, passwords } = await startFront(workspace, { address, settings });

  const node = { type: 'static', username: 'alice', password: { file: 'alice' } };
  workspace.file('node/alice', passwords.alice);
  const config = workspace.file(
    'node/config.yaml',
    JSON.stringify({
      images: [
        { match: `${host}/closed/**`, podIdentity: { audience: 'registry' } },
        { match: `${host}/**`, podIdentity: { audience: 'registry' }, credentials: node },
      ],
    }),
  );
  const program = install(workspace);
  const env = workspace.environment();
  const binDir = workspace.path('providers');
  const ask = (flag: string) =>
    run(program, ['credential-provider', flag, '--config', config, '--bin-dir', binDir], { env });
  const { stdout: printed } = succeeded(await ask('--print-config'));
  const written: string[] = [];
  const kubelet = new KubeletProviders(printed, async ({ name, args }, input) => {
    const { code, stdout, output } = await run(join(binDir, name), args, { env, input, timeout: 60_000 });
    written.push(output.replace(stdout, ''));
    return { code, stdout, stderr: output.slice(stdout.length) };
  });
  mkdirSync(binDir);
  for (const { name } of kubelet.providers) symlinkSync(program, join(binDir, name));

  const given: string[] = [];
  const podOf = (namespace: string, claims = {}): PodOfKubelet => ({
    token: async (audience) => {
      const token = await cluster.token({ namespace, pod: 'web-1', audiences: [audience], claims });
      given.push(token);
      return token;
    },
  });
  const copier = skopeo(workspace);
  const inspect = (image: string, { username, password }: Login) =>
    copier([...['inspect', '--tls-verify=false', '--creds', `${username}:${password}`], `docker://${image}`]);
  const only = (logins: readonly Login[]): Login => {
    assert.equal(logins.length, 1, `${logins.length} answers`);
    return logins[0] ?? assert.fail('no answer');
  };

  await t.test('a pod of a namespace that may pull', async () => {
    const login = only(await kubelet.loginsFor(`${host}/closed/tiny`, podOf('web')));
    assert.equal(login.username, '_kubernetes');
    succeeded(await inspect(`${host}/closed/tiny:1`, login));
  });

  await t.test('a pod of another one is refused by the policy', async () => {
    const login = only(await kubelet.loginsFor(`${host}/closed/tiny`, podOf('other')));
    failedWith(await inspect(`${host}/closed/tiny:1`, login), refused);
  });

  await t.test('a pod without a ServiceAccount pulls as the node, where the rule says so', async () => {
    const login = only(await kubelet.loginsFor(`${host}/open/tiny`));
    assert.deepEqual([login.username, login.password], ['alice', passwords.alice]);
    succeeded(await inspect(`${host}/open/tiny:1`, login));
    assert.deepEqual(await kubelet.loginsFor(`${host}/closed/tiny`), []);
  });

  await t.test('a pod with one never does', async () => {
    const login = only(await kubelet.loginsFor(`${host}/open/tiny`, podOf('web')));
    assert.equal(login.username, '_kubernetes');
    failedWith(await inspect(`${host}/open/tiny:1`, login), refused);
  });

  await t.test('images of other registries are none of its business', async () => {
    assert.deepEqual(await kubelet.loginsFor('docker.io/library/alpine', podOf('web')), []);
  });

  await t.test('a token for somebody else is not shown', async () => {
    const asked = kubelet.loginsFor(`${host}/closed/tiny`, podOf('web', { aud: ['api'] }));
    await assert.rejects(asked, /the pod's token is not for registry alone/);
  });

  await t.test('a token that was tampered with is refused by the proxy', async () => {
    const forged: PodOfKubelet = {
      token: async (audience) => {
        const [header, , signature] = (await podOf('other').token(audience)).split('.');
        const [, payload] = (await podOf('web').token(audience)).split('.');
        return `${header}.${payload}.${signature}`;
      },
    };
    const login = only(await kubelet.loginsFor(`${host}/closed/tiny`, forged));
    failedWith(await inspect(`${host}/closed/tiny:1`, login), refused);
  });

  await t.test('what is asked in an older version is told how to ask', async () => {
    const type = {
      kind: 'CredentialProviderRequest',
      apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1',
    };
    const [{ name, args } = assert.fail('no provider')] = kubelet.providers;
    const input = JSON.stringify({ ...type, image: `${host}/closed/tiny` });
    const answer = await run(join(binDir, name), args, { env, input });
    assert.deepEqual([answer.code, answer.stdout], [1, '']);
    assert.match(answer.output, /^kubelet asks in credentialprovider\.kubelet\.k8s\.io\/v1beta1; write /);
  });

  await t.test('what kubelets need is printed', async () => {
    const { stdout } = succeeded(await ask('--print-rbac'));
    assert.match(stdout, /^ {6}- registry$/m);
    assert.match(stdout, /request-serviceaccounts-token-audience/);
  });

  await t.test('no token is in a log', () => {
    assert.ok(given.length >= 6, `${given.length} tokens`);
    refuseSecrets(proxy.output(), [...given, passwords.alice]);
    refuseSecrets(written.join('\n'), [...given, passwords.alice]);
  });
});
