import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { changedSettings } from '../changed-settings.js';
import { formatProblem } from '../problem.js';
import { loadImageServiceConfiguration, loadServedImageConfiguration } from './load.js';
import { exampleImageServiceConfiguration } from './reference-document.js';

const directory = mkdtempSync(join(tmpdir(), 'image-service-configuration-'));
after(() => rmSync(directory, { recursive: true, force: true }));
writeFileSync(join(directory, 'password'), 'hunter2', { mode: 0o600 });
writeFileSync(join(directory, 'registries.json'), '{}');

const runtime = 'runtime: { type: cri, endpoint: unix:///run/containerd/containerd.sock }\n';
const source = 'credentials: { type: static, username: u, password: { file: password } }';

function load(text: string, environment: NodeJS.ProcessEnv = {}) {
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  return loadImageServiceConfiguration(file, undefined, environment);
}

async function configurationOf(text: string) {
  const loaded = await load(text);
  assert.ok('configuration' in loaded, JSON.stringify(loaded));
  return loaded.configuration;
}

/** All problems, without the file's directory. */
async function problems(text: string): Promise<readonly string[]> {
  const loaded = await load(text);
  assert.ok('problems' in loaded, 'expected problems');
  return loaded.problems.map((problem) => formatProblem({ ...problem, file: 'f' }));
}

describe('a good configuration', () => {
  test('needs no more than a runtime for serve', async () => {
    const configuration = await configurationOf(runtime);
    assert.deepEqual(configuration.listen, { path: '/run/kubelet-image-service/image.sock' });
    assert.deepEqual(configuration.admin, { socket: { path: '/run/kubelet-image-service/admin.sock' } });
    assert.equal(configuration.socketMode, 0o600);
    assert.equal(configuration.directoryMode, 0o700);
    assert.equal(configuration.runtime?.driver.type, 'cri');
    assert.deepEqual(configuration.images, []);
    assert.equal(configuration.credentialTimeout, 10_000);
    assert.equal(configuration.drainTimeout, 120_000);
    assert.deepEqual(configuration.log, { level: 'info' });
    assert.equal(configuration.audit, undefined);
    assert.equal(configuration.baseDirectory, directory);
  });

  test('needs no runtime, except for serve', async () => {
    const { runtime: found } = await configurationOf('images: []\n');
    assert.equal(found, undefined);
    const loaded = await loadServedImageConfiguration(join(directory, 'config.yaml'));
    assert.ok('problems' in loaded, 'serve takes it');
    assert.deepEqual(
      loaded.problems.map((problem) => formatProblem({ ...problem, file: 'f' })),
      [
        'f:1:1: runtime: is missing; serve needs it: expected a mapping such as { type: cri, endpoint: unix:///run/containerd/containerd.sock }',
      ],
    );
  });

  test('without a runtime: serve tells it with all the rest', async () => {
    await load('images: 1\nlog: { level: loud }\n');
    const loaded = await loadServedImageConfiguration(join(directory, 'config.yaml'));
    assert.ok('problems' in loaded, 'serve takes it');
    assert.deepEqual(
      loaded.problems.map(({ path }) => path),
      ['runtime', 'images', 'log.level'],
    );
  });

  test("the reference's example", async () => {
    const { images } = await configurationOf(exampleImageServiceConfiguration);
    assert.deepEqual(
      images.map(({ name, credential }) => [name, credential?.setting, credential?.source.driver.type]),
      [
        ['docker.example.com/**', 'images[0].credentials', 'aws-identity'],
        ['*.internal.example.com/**', 'images[1].credentials', 'docker-config'],
      ],
    );
  });

  test('rules of one pattern have names of their own', async () => {
    const rule = (more: string) => `  - { match: r.example.com/**, ${more}${source} }\n`;
    const { images } = await configurationOf(
      `${runtime}images:\n${rule('namespaces: [a], ')}${rule('annotations: { team: "x-*" }, ')}${rule('')}`,
    );
    assert.deepEqual(
      images.map(({ name }) => name),
      ['r.example.com/**', 'r.example.com/** #2', 'r.example.com/** #3'],
    );
    assert.deepEqual(images[0]?.namespaces?.map(String), ['a']);
    assert.ok(images[1]?.annotations?.get('team')?.matches('x-1'), 'the annotation does not match');
  });

  test('a rule for tokens of pods needs no source', async () => {
    const { images } = await configurationOf(
      `${runtime}images: [{ match: r.example.com/**, podIdentity: { audience: r.example.com } }]\n`,
    );
    assert.deepEqual(images[0]?.podIdentity, { audience: 'r.example.com', username: '_kubernetes' });
    assert.equal(images[0]?.credential, undefined);
  });

  for (const [listen, socket, expected] of [
    ['unix:///tmp/a/image.sock', undefined, '/tmp/a/admin.sock'],
    ['fd://', undefined, '/run/kubelet-image-service/admin.sock'],
    ['fd://4', 'unix:///tmp/b.sock', '/tmp/b.sock'],
  ] as const) {
    test(`operators ask at ${expected} where listen is ${listen}`, async () => {
      const admin = socket === undefined ? '' : `admin: { socket: "${socket}" }\n`;
      const { admin: found } = await configurationOf(`${runtime}listen: "${listen}"\n${admin}`);
      assert.equal(found.socket.path, expected);
    });
  }

  test("a file that a rule's source reads counts as a change, with the settings", async () => {
    const text = `${runtime}images: [{ match: r.example.com/**, ${source} }]\n`;
    const before = await configurationOf(text);
    writeFileSync(join(directory, 'password'), 'hunter3', { mode: 0o600 });
    const later = await configurationOf(text.replace('username: u', 'username: v'));
    assert.deepEqual(changedSettings(before, later), [
      'images[0].credentials',
      'images[0].credentials.password.file',
    ]);
  });
});

describe('a bad one: each problem with its place', () => {
  const cases: readonly (readonly [what: string, text: string, expected: readonly string[]])[] = [
    [
      'a runtime with nothing in it',
      'runtime:\n',
      [
        'f:1:9: runtime: expected a mapping such as { type: cri, endpoint: unix:///run/containerd/containerd.sock }',
      ],
    ],
    ...[
      'k3s',
      'rke2',
      'api',
      'kubernetes',
      'kubernetes.default.svc',
      'HTTPS://Kubernetes.default.svc',
      'https://kubernetes.default.svc.cluster.local:443/',
      'kubernetes.svc.default',
    ].map(
      (audience) =>
        [
          `tokens of pods for the API server, as ${audience}`,
          `${runtime}images: [{ match: r.example.com/**, podIdentity: { audience: "${audience}" } }]\n`,
          [
            'f:2:62: images[0].podIdentity.audience: is an audience of API servers: a token for it must never',
          ],
        ] as const,
    ),
    ['no mapping', '[]\n', ['f:1:1: expected a mapping, not a list']],
    ['a key that is none', `${runtime}imgaes: []\n`, ["f:2:1: imgaes: unknown key, did you mean 'images'?"]],
    [
      'a runtime without a type',
      'runtime: {}\n',
      ['f:1:1: runtime.type: is missing; expected one of cri, docker'],
    ],
    [
      'a runtime that is none',
      'runtime: { type: podman }\n',
      ["f:1:18: runtime.type: unknown type 'podman'; known: cri, docker"],
    ],
    [
      'a runtime by the name of its program',
      'runtime: { type: containerd }\n',
      ["f:1:18: runtime.type: unknown type 'containerd'; known: cri, docker; 'cri' is for containerd"],
    ],
    [
      'a runtime without its socket',
      'runtime: { type: cri }\n',
      [
        'f:1:1: runtime.endpoint: is missing; expected unix:///an/absolute/path of at most 107 bytes, such as unix:///run/containerd/containerd.sock',
      ],
    ],
    [
      'an annotation that YAML reads as a number',
      `${runtime}images: [{ match: a.example.com/**, annotations: { team: 1 }, ${source} }]\n`,
      ['f:2:58: images[0].annotations.team: expected a text: write it in quotes'],
    ],
    [
      'brackets left open: each place once',
      '{{{ foo: [',
      ['f:1:2: not a usable key', 'f:1:3: not a usable key', 'f:1:11: Flow'],
    ],
    [
      'a host pattern with an open end',
      `${runtime}images: [{ match: "docker.*/**", ${source} }]\n`,
      [
        'f:2:19: images[0].match: leaves the end of the host open, and who owns the end of a name owns the name: the last * of the host has a dot and a domain behind it; expected',
      ],
    ],
    [
      'a rule without a credential',
      `${runtime}images: [{ match: a.example.com/** }]\n`,
      ['f:2:10: images[0].credentials: expected `credentials`, such as { type: aws-identity }'],
    ],
    [
      'a rule with nothing in it',
      `${runtime}images: [{}, 1]\n`,
      [
        "f:2:10: images[0].match: is missing; expected a registry's host",
        'f:2:10: images[0].credentials: expected `credentials`',
        'f:2:14: images[1]: expected',
      ],
    ],
    [
      'a source that does not say which',
      `${runtime}images: [{ match: a.example.com/**, credentials: {} }]\n`,
      [
        'f:2:37: images[0].credentials.type: is missing; expected one of acr, anonymous, aws-identity, aws-sts, azure-identity, docker-config, ecr, exec, gcp, gcp-identity, kubernetes-token, static',
      ],
    ],
    [
      'a file that is not there',
      `${runtime}images: [{ match: a.example.com/**, credentials: { type: docker-config, file: gone.json } }]\n`,
      ['f:2:79: images[0].credentials.file: gone.json does not exist'],
    ],
    [
      'a variable that is not there',
      `${runtime}images: [{ match: a.example.com/**, credentials: { type: static, registryToken: { env: GONE } } }]\n`,
      [
        'f:2:88: images[0].credentials.registryToken.env: the environment has no variable GONE, or it is empty',
      ],
    ],
    [
      'an audit log in no directory',
      `${runtime}audit: { file: gone/audit.jsonl }\n`,
      [`f:2:16: audit.file: gone/audit.jsonl cannot be made: there is no directory ${directory}/gone`],
    ],
    [
      'modes that YAML reads as numbers',
      `${runtime}socketMode: 0600\n`,
      ["f:2:13: socketMode: expected a mode of four octal digits in quotes, such as '0600'"],
    ],
    [
      'an address without a path',
      `${runtime}listen: /run/image.sock\n`,
      ['f:2:9: listen: write unix:///run/image.sock'],
    ],
    [
      'one socket for both',
      `${runtime}listen: unix:///run/a.sock\nadmin: { socket: unix:///run/a.sock }\n`,
      ["f:3:18: admin.socket: is the socket of 'listen'; expected another one"],
    ],
    [
      'itself as its runtime',
      'listen: unix:///run/a.sock\nruntime: { type: cri, endpoint: unix:///run/a.sock }\n',
      [
        "f:2:33: runtime.endpoint: is a socket of this program: it would ask itself; expected the container runtime's",
      ],
    ],
    [
      'a directory too long for a second socket',
      `${runtime}listen: unix:///${'d'.repeat(99)}/a.sock\n`,
      ['f:2:9: listen: leaves no room for admin.sock beside it, in 107 bytes: set admin.socket'],
    ],
    [
      'patience that kubelet has not',
      `${runtime}credentialTimeout: 30s\n`,
      [
        'f:2:20: credentialTimeout: expected a duration such as 30s, 5m, 12h or 30d, at least 100ms, at most 10s',
      ],
    ],
    [
      'much at once',
      'runtime: { type: podman }\nlisten: x\nimages: [{ match: a, credentials: { type: nosuch } }]\nlog: { level: loud }\n',
      [
        'f:1:18: runtime.type:',
        'f:2:9: listen:',
        'f:3:19: images[0].match:',
        'f:3:43: images[0].credentials.type:',
        'f:4:15: log.level:',
      ],
    ],
  ];
  for (const [what, text, expected] of cases) {
    test(what, async () => {
      const found = await problems(text);
      const begin = (one: string, i: number) => one.slice(0, expected[i]?.length);
      assert.deepEqual(found.map(begin), expected);
    });
  }

  test('no secret is in a problem', async () => {
    const found = await problems(
      `${runtime}images: [{ match: a.example.com/**, credentials: { type: static, username: u, password: hunter2 } }]\n`,
    );
    assert.equal(found.length, 1);
    assert.doesNotMatch(found.join(), /hunter2/);
  });
});
