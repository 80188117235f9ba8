import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkOpening, checkWarnings } from '../../src/bin/check.js';
import { openingProblems } from '../../src/bin/image-service/check.js';
import { imageServiceWarnings } from '../../src/bin/image-service/warnings.js';
import { loadImageServiceConfiguration } from '../../src/config/image-service/load.js';
import { loadConfiguration } from '../../src/config/load.js';
import { formatProblem } from '../../src/config/problem.js';
import { FakeLog, FakeMetrics } from '../../src/testing/index.js';
import { findProgram, requireProgram } from '../../src/testing/programs.js';
import { kustomizations, type Manifest, manifests, manifestsFor, render, writeForOld } from './kustomize.js';
import { brokenPromises, hostPaths, secretsOfOthers, workloadsOf } from './promises.js';
import { schemaProblems, unknownFields } from './schema.js';

// `deploy/kubernetes`: each kustomization as kubectl renders it, by Kubernetes' own schema and by what we promise of it.

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const kubectl = findProgram('kubectl');
const rendered = new Map<string, readonly Manifest[]>();
const scratch = mkdtempSync(join(tmpdir(), 'drp-kubernetes-'));
after(() => rmSync(scratch, { recursive: true }));

before(async () => {
  if (kubectl === undefined) return;
  const from = await manifestsFor(kubectl);
  try {
    for (const name of kustomizations()) rendered.set(name, await render(kubectl, join(from, name)));
  } finally {
    if (from !== manifests) rmSync(from, { recursive: true });
  }
});

/** @returns undefined where the test was skipped */
function renderedFor(t: Parameters<typeof requireProgram>[0], name: string): readonly Manifest[] | undefined {
  if (requireProgram(t, 'kubectl', 'kubernetes-client') === undefined) return undefined;
  return rendered.get(name) ?? assert.fail(`not rendered: ${name}`);
}

describe('the kustomizations', () => {
  for (const name of kustomizations()) {
    test(`${name} is valid and keeps its promises`, async (t) => {
      const all = renderedFor(t, name);
      if (all === undefined) return;
      for (const one of all) assert.deepEqual(await schemaProblems(one), [], one.metadata.name);
      // On its own it is a part: its names lead to what is beside it.
      if (name !== 'image-service/base/namespace') assert.deepEqual(brokenPromises(all), []);
    });
  }

  test('have no field that Kubernetes does not know', async (t) => {
    if (requireProgram(t, 'kubectl', 'kubernetes-client') === undefined) return;
    assert.deepEqual(await unknownFields([...rendered.values()].flat()), []);
  });

  test('are there for each platform and mode', () => {
    const overlays = (prefix: string) =>
      kustomizations().flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
    const all = ['credential-provider', 'host', 'pod', 'uninstall'];
    const modes = {
      ...{ aks: all, eks: all, gke: all },
      // A k3s that restarts is a restart of the API server, too: the pod has to be there before it.
      k3s: ['credential-provider', 'host', 'uninstall'],
      ...{ kubeadm: all, minikube: all },
    };
    const expected = Object.entries(modes).flatMap(([name, some]) => some.map((mode) => `${name}/${mode}`));
    assert.deepEqual(overlays('image-service/overlays/'), expected);
    assert.deepEqual(overlays('proxy/overlays/'), ['ingress', 'service-monitor']);
  });

  test('of one platform have the same directories', () => {
    const texts = ['host', 'pod', 'credential-provider', 'uninstall'].map((mode) =>
      readFileSync(join(manifests, 'image-service/overlays/gke', mode, 'directories.yaml'), 'utf8'),
    );
    assert.equal(new Set(texts).size, 1, 'they differ');
  });

  test('take the place of each other, whichever is applied', (t) => {
    if (requireProgram(t, 'kubectl', 'kubernetes-client') === undefined) return;
    const installers = [...rendered]
      .filter(([name]) => name.startsWith('image-service/') && !name.endsWith('/namespace'))
      .map(([name, all]) => ({ name, workloads: workloadsOf(all) }));
    for (const { name, workloads } of installers) {
      const [own] = workloads.filter(({ metadata }) => metadata.name === 'kubelet-image-service');
      const labels = own?.spec.selector.matchLabels;
      assert.deepEqual(labels, { 'app.kubernetes.io/name': 'kubelet-image-service' }, name);
      assert.equal(workloads.length, name.endsWith('/pod') ? 2 : 1, name);
    }
  });

  test('that remove need no configuration and no secret', (t) => {
    if (requireProgram(t, 'kubectl', 'kubernetes-client') === undefined) return;
    for (const [name, all] of rendered) {
      if (!name.endsWith('/uninstall')) continue;
      const [{ spec }] = workloadsOf(all) as [ReturnType<typeof workloadsOf>[number]];
      const volumes = spec.template.spec.volumes?.map((volume) => volume.name).sort();
      assert.deepEqual(volumes, ['executables', 'ready', 'state', 'systemd'], name);
    }
  });
});

describe('what is wrong with a manifest', () => {
  const host = 'image-service/overlays/eks/host';
  const pod = 'image-service/overlays/eks/pod';
  const proxy = 'proxy/overlays/ingress';
  const cases: readonly (readonly [string, string, string, string])[] = [
    ['a privileged container', host, '"privileged":false', '"privileged":true'],
    ['a container that may gain privileges', pod, 'Escalation":false', 'Escalation":true'],
    ['capabilities', host, '"drop":["ALL"]', '"drop":["CHOWN"]'],
    ["the node's processes", host, '"dnsPolicy"', '"hostPID":true,"dnsPolicy"'],
    ['a directory that nobody allowed', host, '"path":"/run/systemd"', '"path":"/etc/systemd"'],
    ['a directory at another place', host, '"/node/opt/', '"/nodes/opt/'],
    ['a socket in place of its directory', pod, '"/run/containerd","type":"Directory"', '"/run/containerd"'],
    ['no opt-in', host, '"kubelet-image-service/node":"enabled",', ''],
    ['no tolerations', host, '[{"operator":"Exists"}]', '[{"operator":"Exists","effect":"NoExecute"}]'],
    ['another priority', host, '"priorityClassName":"system-node-critical"', '"priorityClassName":""'],
    ['an update that takes the old one first', pod, '"maxSurge":1,"maxUnavailable":0', '"maxUnavailable":1'],
    ['a livenessProbe', pod, '"name":"serve",', '"name":"serve","livenessProbe":{},'],
    ["the node's network for the installer", host, '"dnsPolicy"', '"hostNetwork":true,"dnsPolicy"'],
    ['cluster DNS', pod, '"dnsPolicy":"Default"', '"dnsPolicy":"ClusterFirst"'],
    [
      "a token of the API server's",
      proxy,
      '"automountServiceAccountToken":false,"containers"',
      '"containers"',
    ],
    ['root for the proxy', proxy, '"runAsNonRoot":true', '"runAsNonRoot":false'],
    ['a Secret that is not there', proxy, '"docker-registry-proxy-keys"', '"docker-registry-proxy-key"'],
    [
      'a ConfigMap that is not there',
      proxy,
      '"name":"docker-registry-proxy"},"name":"conf',
      '"name":"x"},"name":"conf',
    ],
    ['an Ingress that leads nowhere', proxy, '"port":{"name":"http"}', '"port":{"name":"https"}'],
    [
      'a Service that selects nothing',
      proxy,
      '"selector":{"app.kubernetes.io/name":"docker-registry-proxy"}}',
      '"selector":{"a":"b"}}',
    ],
    ['memory without a bound', proxy, '"memory":"1Gi"', '"ephemeral-storage":"1Gi"'],
  ];
  for (const [what, name, before, behind] of cases) {
    test(`would be found: ${what}`, (t) => {
      const all = renderedFor(t, name);
      if (all === undefined) return;
      const text = JSON.stringify(all);
      assert.ok(text.includes(before), `nothing to break in ${name}: ${before}`);
      const broken = JSON.parse(text.replaceAll(before, behind)) as readonly Manifest[];
      assert.notDeepEqual(brokenPromises(broken), []);
    });
  }

  test('would be found: what the schema forbids', async (t) => {
    const all = renderedFor(t, host);
    if (all === undefined) return;
    const break_ = (before: string, behind: string) =>
      JSON.parse(JSON.stringify(all).replace(before, behind)) as readonly Manifest[];
    const wrongType = break_('"periodSeconds":10', '"periodSeconds":"10s"');
    const problems = await Promise.all(wrongType.map(schemaProblems));
    assert.equal(problems.flat().length, 1, 'a wrong type');
    const unknown = await unknownFields(break_('"periodSeconds":10', '"period":10'));
    assert.match(unknown.join('\n'), /"period"' does not exist/);
  });
});

describe('commands of containers', () => {
  const helps = new Map<string, Promise<string>>();
  /** What a command's `--help` says. */
  function helpOf(program: string, command: string): Promise<string> {
    const key = `${program} ${command}`;
    const known = helps.get(key);
    if (known !== undefined) return known;
    const file = join(root, 'src', 'bin', `${program}.ts`);
    const help = run(process.execPath, ['--import', 'tsx', file, command, '--help'], { cwd: root });
    const text = help.then(({ stdout }) => stdout);
    helps.set(key, text);
    return text;
  }

  async function check([program = '', command = '', ...flags]: readonly string[], at: string): Promise<void> {
    const help = await helpOf(program, command);
    assert.match(help, new RegExp(`^Usage: ${program} ${command}\\b`), `${at}: no command ${command}`);
    for (const flag of flags) {
      const [name = '', value] = flag.split('=');
      const option = new RegExp(`^ +(?:-\\w, )?${name}( <[^>]+>| \\[[^\\]]+\\])?(?= |$)`, 'm').exec(help);
      assert.ok(option !== null, `${at}: ${command} has no ${name}`);
      assert.equal(option[1] !== undefined, value !== undefined, `${at}: the value of ${name}`);
    }
  }

  for (const name of kustomizations()) {
    test(`exist in ${name}`, async (t) => {
      const all = renderedFor(t, name);
      if (all === undefined) return;
      for (const { kind, spec } of workloadsOf(all)) {
        const program = kind === 'Deployment' ? 'docker-registry-proxy' : 'kubelet-image-service';
        for (const { args = [], readinessProbe } of spec.template.spec.containers) {
          await check([program, ...args], name);
          const command = readinessProbe?.exec?.command ?? [];
          if (command[0] === program) await check(command, name);
        }
      }
    });
  }
});

describe('configurations', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signingKey = String(privateKey.export({ format: 'pem', type: 'pkcs8' }));
  let count = 0;
  /** @returns the path of a directory of its own with all files that a configuration of ours names */
  function directoryFor(text: string): string {
    const directory = join(scratch, String(count++));
    const secrets = join(directory, 'secrets');
    for (const [file, content] of [
      ['keys/signing.pem', signingKey],
      ['users/users.htpasswd', ''],
    ] as const) {
      mkdirSync(join(secrets, file, '..'), { recursive: true });
      writeFileSync(join(secrets, file), content, { mode: 0o600 });
    }
    writeFileSync(join(directory, 'docker.json'), '{"auths":{}}', { mode: 0o600 });
    const placed = text.replaceAll('/run/secrets/docker-registry-proxy', secrets);
    writeFileSync(join(directory, 'config.yaml'), placed, { mode: 0o600 });
    return join(directory, 'config.yaml');
  }

  for (const name of kustomizations()) {
    test(`of ${name} pass check`, async (t) => {
      const all = renderedFor(t, name);
      if (all === undefined) return;
      for (const { data } of all.filter(({ kind }) => kind === 'ConfigMap')) {
        const { 'config.yaml': text, ...others } = data as Record<string, string>;
        assert.deepEqual(others, {}, 'other files');
        const file = directoryFor(text ?? '');
        const problems: readonly string[] = name.startsWith('proxy/')
          ? await proxyProblems(file)
          : await nodeProblems(file, needsRuntime(all));
        assert.deepEqual(problems, []);
      }
    });
  }

  test('that are wrong would be found', async () => {
    assert.equal((await nodeProblems(directoryFor('imagez: []\n'), false)).length > 0, true, 'of a node');
    assert.equal((await proxyProblems(directoryFor('listen: 1\n'))).length > 0, true, 'of the proxy');
  });
});

/** Whether something serves with it: a credential provider needs no runtime. */
function needsRuntime(all: readonly Manifest[]): boolean {
  return workloadsOf(all).some(({ spec }) =>
    spec.template.spec.containers.some(({ args }) => args?.includes('--mode=host') || args?.[0] === 'serve'),
  );
}

async function proxyProblems(file: string): Promise<readonly string[]> {
  const loaded = await loadConfiguration(file, undefined, {});
  if ('problems' in loaded) return loaded.problems.map(formatProblem);
  const surroundings = { clock: Date, log: new FakeLog(), metrics: new FakeMetrics() };
  const problems = await checkOpening(loaded.configuration, surroundings);
  return problems.length > 0 ? problems : checkWarnings(loaded.configuration, surroundings);
}

async function nodeProblems(file: string, serves: boolean): Promise<readonly string[]> {
  const loaded = await loadImageServiceConfiguration(file, undefined, {});
  if ('problems' in loaded) return loaded.problems.map(formatProblem);
  const { configuration } = loaded;
  const surroundings = { clock: Date, log: new FakeLog(), metrics: new FakeMetrics() };
  return [
    ...(await openingProblems(configuration, surroundings)),
    ...imageServiceWarnings(configuration)
      .filter(({ setting }) => serves || setting !== 'runtime')
      .map(({ setting, message }) => `${setting} ${message}`),
  ];
}

/** What is promised of images holds for those that we ship. */
function withOurImage(manifest: Manifest): Manifest {
  const text = JSON.stringify(manifest).replace(/"image":"[^"]+"/g, '"image":"registry.example.com/x:1"');
  return JSON.parse(text) as Manifest;
}

describe('the images', () => {
  for (const [program, directory, user] of [
    ['docker-registry-proxy', 'proxy/base', 65532],
    ['kubelet-image-service', 'image-service/base/pod', 0],
  ] as const) {
    test(`start ${program} as the manifests say`, (t) => {
      const all = renderedFor(t, directory);
      if (all === undefined) return;
      const recipe = readFileSync(join(root, 'deploy', 'docker', `${program}.Dockerfile`), 'utf8');
      assert.match(
        recipe,
        new RegExp(`^ENTRYPOINT \\[.*${program}(\\.js)?"\\]$`, 'm'),
        'arguments alone are not enough',
      );
      const [, ofImage] = /^USER (\d+)/m.exec(recipe) ?? [];
      assert.equal(ofImage, String(user), 'the user of the image');
      for (const { spec } of workloadsOf(all)) {
        assert.equal(spec.template.spec.securityContext?.runAsUser, user, 'the user of the pod');
        for (const { command } of spec.template.spec.containers) assert.equal(command, undefined);
      }
    });
  }
});

describe('the guides', () => {
  const guide = (name: string) => readFileSync(join(root, 'docs', 'kubernetes', `${name}.md`), 'utf8');

  for (const [name, image] of [
    ['README', '123456789012.dkr.ecr.eu-west-1.amazonaws.com/kubelet-image-service:0.1.0'],
    ['proxy', 'eu-docker.pkg.dev/my-project/infra/docker-registry-proxy:0.1.0'],
  ] as const) {
    test(`show a kustomization of one's own that works: ${name}`, async (t) => {
      const kubectl = requireProgram(t, 'kubectl', 'kubernetes-client');
      if (kubectl === undefined) return;
      const own = join(scratch, `own-${name}`);
      const from = await manifestsFor(kubectl);
      mkdirSync(own);
      mkdirSync(join(scratch, 'docker-registry-proxy', 'deploy'), { recursive: true });
      cpSync(from, join(scratch, 'docker-registry-proxy', 'deploy', 'kubernetes'), { recursive: true });
      const [, block = ''] =
        /^ *```yaml\n([\s\S]*?kind: Kustomization[\s\S]*?)^ *```$/m.exec(guide(name)) ?? [];
      writeFileSync(join(own, 'kustomization.yaml'), block.replace(/^ {3}/gm, ''));
      writeFileSync(join(own, 'config.yaml'), '# of my own\n');
      if (from !== manifests) {
        rmSync(from, { recursive: true });
        writeForOld(own);
      }
      const all = await render(kubectl, own);
      assert.deepEqual(brokenPromises(all.map(withOurImage)), []);
      const images = workloadsOf(all).flatMap(({ spec }) =>
        spec.template.spec.containers.map((one) => one.image),
      );
      assert.deepEqual(images, [image]);
      const [configuration] = all.filter(({ kind }) => kind === 'ConfigMap');
      assert.deepEqual(configuration?.data, { 'config.yaml': '# of my own\n' });
    });
  }

  test('show how to apply every overlay', () => {
    const applied = ['proxy', 'gke', 'eks', 'aks', 'kubeadm', 'k3s', 'minikube'].map(guide).join('\n');
    for (const name of kustomizations().filter((one) => one.includes('/overlays/')))
      assert.ok(applied.includes(`deploy/kubernetes/${name}`), `${name} is in no guide`);
  });

  test('say how each Secret is made', () => {
    for (const name of secretsOfOthers)
      assert.match(guide('proxy'), new RegExp(`create secret generic ${name}\\b`), name);
    assert.match(guide('kubeadm'), /create secret generic kubelet-image-service\b/);
  });

  test('tell what pods have of a node', () => {
    for (const path of Object.keys(hostPaths)) assert.ok(guide('README').includes(`\`${path}\``), path);
  });
});
