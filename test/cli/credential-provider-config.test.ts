import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { parse, parseAllDocuments } from 'yaml';
import { authKey } from '../../src/bin/credential-provider/answer.js';
import { matchImages, mostLabels } from '../../src/bin/credential-provider/match-images.js';
import { usualPatience } from '../../src/bin/credential-provider/run.js';
import { matchingKeys } from '../../src/credential-sources/exec/image-match.js';
import { parseImageReference } from '../../src/reference/image-reference.js';
import { type ImagePattern, parseImagePattern } from '../../src/settings/image-pattern.js';
import { KubeletProviders, urlsMatch } from '../harness/kubelet-providers.js';
import { ProviderMachine, runProvider } from './providing.js';

// What is printed for kubelet and for the cluster, read as kubelet reads it.

const pattern = (text: string): ImagePattern => parseImagePattern(text) ?? assert.fail(`no pattern: ${text}`);

describe("kubelet's matchImages", () => {
  const cases: readonly (readonly [glob: string, image: string, isMatch: boolean])[] = [
    ['docker.example.com', 'docker.example.com/team/app', true],
    ['docker.example.com', 'docker.example.com:443/app', false],
    ['docker.example.com:443', 'docker.example.com:443/app', true],
    ['*.example.com', 'docker.example.com/app', true],
    ['*.example.com', 'a.docker.example.com/app', false],
    ['*.example.com', 'example.com/app', false],
    ['d*r.example.com', 'docker.example.com/app', true],
    ['d*r.example.com', 'd.r.example.com/app', false],
    ['docker.example.com/team', 'docker.example.com/teamster/app', true],
    ['docker.example.com/team/', 'docker.example.com/teamster/app', false],
    ['docker.example.com/*', 'docker.example.com/app', false],
    ['docker.example.com', 'Docker.example.com/app', false],
    ['dockerxexample.com', 'docker.example.com/app', false],
    ['docker.io', 'docker.io/library/alpine', true],
    ['[::1]:5000', '[::1]:5000/app', true],
  ];
  for (const [glob, image, isMatch] of cases) {
    test(`${glob} ${isMatch ? 'matches' : 'does not match'} ${image}`, () => {
      assert.equal(urlsMatch(glob, image), isMatch);
    });
  }
});

describe('the matchImages of a pattern', () => {
  const cases: readonly (readonly [text: string, globs: readonly string[]])[] = [
    ['docker.example.com/**', ['docker.example.com']],
    ['docker.example.com/app', ['docker.example.com/app']],
    ['docker.example.com/team/**', ['docker.example.com/team/']],
    ['docker.example.com/team-*/app', ['docker.example.com/team-']],
    ['docker.example.com/*/app', ['docker.example.com']],
    ['docker.example.com:5000/**', ['docker.example.com:5000']],
    ['index.docker.io/acme/*', ['docker.io/acme/']],
    [
      '*.internal:5000/a/**',
      [1, 2, 3, 4, 5].map((labels) => `${Array(labels).fill('*').join('.')}.internal:5000/a/`),
    ],
    [
      'r*.eu.example.com/**',
      ['', '.*', '.*.*', '.*.*.*', '.*.*.*.*'].map((more) => `r*${more}.eu.example.com`),
    ],
  ];
  for (const [text, globs] of cases) {
    test(`${text}: ${globs.join(' ')}`, () => assert.deepEqual(matchImages(pattern(text)), globs));
  }

  test('with two *: each together with the other', () => {
    const globs = matchImages(pattern('a*.b*.example.com/**'));
    assert.equal(globs.length, 15);
    for (const host of ['a.b.example.com', 'a1.b.example.com', 'a.x.b.y.z.example.com']) {
      assert.ok(
        globs.some((glob) => urlsMatch(glob, `${host}/app`)),
        host,
      );
    }
  });

  test('are refused where they are too many', () => {
    assert.throws(() => matchImages(pattern('a*b*c*d*.example.com/**')), {
      message: /kubelet would need 70 patterns for it/,
    });
  });

  test('are for every image of the pattern', () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9]{0,3}$/);
    const stands = fc.array(label, { minLength: 1, maxLength: mostLabels });
    const images = fc.record({
      before: fc.constantFrom('', 'r', 'a.b.'),
      stands,
      port: fc.constantFrom('', ':5000'),
      glob: fc.constantFrom('**', 'team/**', 'team-*/app', '*/app', 'te**'),
      path: fc.constantFrom('team/app', 'team-a/app', 'teamster', 'x/app', 'team/a/b'),
    });
    let matching = 0;
    fc.assert(
      fc.property(images, ({ before, stands: labels, port, glob, path }) => {
        const own = pattern(`${before}*.example.com${port}/${glob}`);
        const image = `${before}${labels.join('.')}.example.com${port}/${path}`;
        if (!own.matches(parseImageReference(image))) return;
        matching++;
        assert.ok(
          matchImages(own).some((one) => urlsMatch(one, image)),
          `${own} matches ${image}`,
        );
      }),
    );
    assert.ok(matching > 10, `only ${matching} cases`);
  });
});

describe('the key of an answer', () => {
  for (const image of [
    'docker.example.com/app',
    'docker.example.com:5000/team/app',
    'docker.io/library/alpine',
    'Docker.Example.com/app',
    'docker.example.com/v2/app',
    'docker.example.com/v1/v2/app',
    'localhost/app',
    '[::1]:5000/app',
  ]) {
    test(`kubelet finds ${image} by it`, () => {
      const key = authKey(image, parseImageReference(image));
      assert.deepEqual(matchingKeys([key], image), [key]);
      const other = image.replace(/[^/]+$/, 'other');
      assert.deepEqual(matchingKeys([key], other), [], 'and another one, too');
    });
  }
});

const credentials = { type: 'static', username: 'u', password: { file: 'password' } };
const podIdentity = { audience: 'docker.example.com' };

async function printed(t: TestContext, images: unknown, args: readonly string[] = []) {
  const machine = new ProviderMachine(t, images);
  const { code, stdout, stderr } = await machine.run(['--print-config', ...args]);
  assert.deepEqual([code, stderr], [0, '']);
  const nobody = () => assert.fail('nobody is asked');
  return { text: stdout, file: machine.file, providers: new KubeletProviders(stdout, nobody).providers };
}

describe('the CredentialProviderConfig', () => {
  test('has a provider without tokens, and one for each audience', async (t) => {
    const { file, providers } = await printed(t, [
      { match: 'docker.example.com/a/**', podIdentity },
      { match: '*.internal:5000/b/**', podIdentity, credentials },
      { match: 'docker.example.com/c/**', podIdentity: { audience: 'api://Registry/1' } },
      { match: 'docker.example.com/**', credentials },
      { match: 'docker.example.com/a/**', credentials },
    ]);
    const args = ['credential-provider', '--config', file];
    const common = {
      defaultCacheDuration: '0s',
      apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
    };
    const tokens = (serviceAccountTokenAudience: string, requireServiceAccount: boolean) => ({
      tokenAttributes: { serviceAccountTokenAudience, cacheType: 'Token', requireServiceAccount },
    });
    assert.deepEqual(providers, [
      {
        name: 'kubelet-image-service',
        matchImages: ['docker.example.com', 'docker.example.com/a/'],
        ...{ ...common, args },
      },
      {
        name: 'kubelet-image-service-token-docker.example.com',
        matchImages: ['docker.example.com/a/', ...matchImages(pattern('*.internal:5000/b/**'))],
        ...{ ...common, args: [...args, '--audience', 'docker.example.com'] },
        ...tokens('docker.example.com', false),
      },
      {
        name: 'kubelet-image-service-token-api-registry-1',
        matchImages: ['docker.example.com/c/'],
        ...{ ...common, args: [...args, '--audience', 'api://Registry/1'] },
        ...tokens('api://Registry/1', true),
      },
    ]);
  });

  test('has names that differ', async (t) => {
    const audiences = ['a/b', 'a:b', 'A-B', '!', '?'];
    const { providers } = await printed(
      t,
      audiences.map((audience, i) => ({ match: `docker.example.com/${i}/**`, podIdentity: { audience } })),
    );
    assert.deepEqual(
      providers.map(({ name }) => name.replace('kubelet-image-service-token-', '')),
      ['a-b', 'a-b-2', 'a-b-3', 'audience', 'audience-2'],
    );
  });

  test('has names that differ, also where an audience ends as a number does', async (t) => {
    for (const audiences of [
      ['a b', 'a-b', 'a-b-2'],
      ['a-b-2', 'a b', 'a-b', 'A-B'],
      ['a-b-2-2', 'a b', 'a-b-2', 'a-b', 'a:b:2'],
      [`${'x'.repeat(60)}1`, `${'x'.repeat(60)}2`],
    ]) {
      const { providers } = await printed(
        t,
        audiences.map((audience, i) => ({
          match: `docker.example.com/${i}/**`,
          podIdentity: { audience },
        })),
      );
      const names = providers.map(({ name }) => name);
      assert.deepEqual(
        [new Set(names).size, names.length],
        [audiences.length, audiences.length],
        names.join(),
      );
    }
  });

  test('requires no ServiceAccount where rules behind have something for others', async (t) => {
    const narrow = { match: 'docker.example.com/**', namespaces: ['a'], podIdentity };
    const behind = { match: 'docker.example.com/**', credentials };
    const required = async (images: unknown) =>
      (await printed(t, images)).providers.map(
        ({ tokenAttributes }) => tokenAttributes?.requireServiceAccount,
      );
    assert.deepEqual(await required([narrow]), [true]);
    assert.deepEqual(await required([narrow, behind]), [undefined, false]);
    assert.deepEqual(await required([{ ...narrow, credentials }]), [false]);
  });

  test('without tokens has none, and leaves out who could answer nothing', async (t) => {
    const images = [
      { match: 'a.example.com/**', podIdentity: { audience: 'a' } },
      { match: 'b.example.com/**', podIdentity: { audience: 'b' }, credentials },
    ];
    const { text, providers } = await printed(t, images, ['--without-tokens']);
    assert.deepEqual(
      providers.map(({ name, tokenAttributes }) => [name, tokenAttributes]),
      [['kubelet-image-service-token-b', undefined]],
    );
    assert.match(text, /^# For kubelets before Kubernetes 1\.34/m);
    assert.doesNotMatch(text, /^# tokenAttributes/m);
  });

  test('says what else there is to do', async (t) => {
    const images = [
      { match: '*.internal/**', podIdentity },
      { match: 'x.example.com/**', annotations: { a: 'b' }, credentials },
    ];
    const { text } = await printed(t, images, ['--bin-dir', '/opt/providers']);
    for (const line of [
      '#         --image-credential-provider-bin-dir=/opt/providers',
      '#   ln -sf "$(command -v kubelet-image-service)" /opt/providers/kubelet-image-service-token-docker.example.com',
      '# KubeletServiceAccountTokenForCredentialProviders, which is on by default. Before that kubelet does not start with',
      "# x.example.com/**: left out, for nobody tells a provider a pod's annotations.",
    ]) {
      assert.ok(text.split('\n').includes(line), `there is no line: ${line}\n${text}`);
    }
    assert.match(text, /One that is missing: kubelet does not start\./);
  });

  test('has commands that a shell takes as they are meant', async (t) => {
    const images = [{ match: 'docker.example.com/**', credentials }];
    const { text } = await printed(t, images, ['--bin-dir', "/opt/$(id) it's; x"]);
    const quoted = String.raw`'/opt/$(id) it'\''s; x'`;
    for (const line of [
      `#         --image-credential-provider-bin-dir=${quoted}`,
      `#   mkdir -p ${quoted}`,
      `#   ln -sf "$(command -v kubelet-image-service)" ${quoted.slice(0, -1)}/kubelet-image-service'`,
    ]) {
      assert.ok(text.split('\n').includes(line), `there is no line: ${line}\n${text}`);
    }
  });

  for (const character of ['\n', '\r', '\t', '\u0085', '\u2028', '\u2029', '\u001b', '\u202e']) {
    test(`is none for a path with ${JSON.stringify(character)}, which may leave its comment`, async (t) => {
      const machine = new ProviderMachine(t, [{ match: 'docker.example.com/**', credentials }]);
      const path = `x${character}evil: yes`;
      const told = await machine.run(['--print-config', '--bin-dir', `/opt/${path}`]);
      const expected = 'expected a path without line breaks and control characters\n';
      assert.deepEqual(told, { code: 2, stdout: '', stderr: `--bin-dir: ${expected}` });
      const file = machine.write(path, readFileSync(machine.file, 'utf8'));
      const other = await runProvider(['credential-provider', '--print-config', '--config', file], '');
      assert.deepEqual(other, { code: 2, stdout: '', stderr: `--config: ${expected}` });
    });
  }

  test('of no rules is none', async (t) => {
    for (const images of [[], [{ match: 'x.example.com/**', annotations: { a: 'b' }, credentials }]]) {
      const { code, stdout, stderr } = await new ProviderMachine(t, images).run(['--print-config']);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, /^images: there is no rule that kubelet could ask for\n$/);
    }
  });
});

describe('the role of kubelets', () => {
  const role = (t: TestContext, images: unknown) => new ProviderMachine(t, images).run(['--print-rbac']);

  test('is for the audiences, and for nothing else', async (t) => {
    const { code, stdout } = await role(t, [
      { match: 'a.example.com/**', podIdentity },
      { match: 'b.example.com/**', podIdentity: { audience: 'api://registry' } },
      { match: 'c.example.com/**', podIdentity },
      { match: 'd.example.com/**', credentials },
    ]);
    assert.equal(code, 0);
    const [clusterRole, binding] = parseAllDocuments(stdout).map((one) => one.toJS());
    assert.deepEqual(clusterRole.rules, [
      {
        apiGroups: [''],
        resources: ['docker.example.com', 'api://registry'],
        verbs: ['request-serviceaccounts-token-audience'],
      },
    ]);
    const apiGroup = 'rbac.authorization.k8s.io';
    assert.deepEqual(binding.roleRef, { apiGroup, kind: 'ClusterRole', name: clusterRole.metadata.name });
    assert.deepEqual(binding.subjects, [{ apiGroup, kind: 'Group', name: 'system:nodes' }]);
  });

  test('is none where no rule has an audience, and for none that is all of them', async (t) => {
    const none = await role(t, [{ match: 'd.example.com/**', credentials }]);
    assert.deepEqual([none.code, none.stdout], [1, '']);
    assert.match(none.stderr, /^no rule has a podIdentity: kubelets need no more rights\n$/);
    for (const audience of ['*', '*/token']) {
      const wide = await role(t, [{ match: 'a.example.com/**', podIdentity: { audience } }]);
      assert.deepEqual([wide.code, wide.stdout], [2, '']);
      assert.match(wide.stderr, /would be every audience in a role/);
    }
  });
});

describe('the document', () => {
  const file = new URL('../../docs/kubelet-image-service/credential-provider.md', import.meta.url);
  const text = readFileSync(file, 'utf8');
  const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
  const blockWith = (part: string) =>
    blocks.find((block) => block.includes(part)) ?? assert.fail(`no block with ${part}`);

  test('shows what is printed for its rules', async (t) => {
    const { images } = parse(blockWith('images:\n'));
    const machine = new ProviderMachine(t, images);
    const config = await machine.run(['--print-config']);
    assert.equal(config.code, 0, config.stderr);
    const own = '/etc/kubelet-image-service/config.yaml';
    const providers = parse(config.stdout.replaceAll(machine.file, own)).providers;
    const shown = parse(blockWith('CredentialProviderConfig')).providers;
    const short = (all: { matchImages: string[] }[]) =>
      all.map((one) => ({
        ...one,
        matchImages: one.matchImages.filter((glob) => !/^\*\.\*\.\*/.test(glob)),
      }));
    assert.deepEqual(short(shown), short(providers));
    for (const line of blockWith('CredentialProviderConfig').matchAll(/^# .*(?:ln -sf|bin-dir).*$/gm)) {
      assert.ok(config.stdout.includes(line[0]), `${line[0]} is not printed`);
    }
    const role = await machine.run(['--print-rbac']);
    const [clusterRole] = parseAllDocuments(role.stdout).map((one) => one.toJS());
    assert.deepEqual(parse(blockWith('kind: ClusterRole\n')), clusterRole);
  });

  test('has the limits of the program', () => {
    assert.equal(mostLabels, 5);
    assert.ok(text.includes('Up to five labels'), 'another number of labels');
    assert.ok(text.includes(`no credential within ${usualPatience / 1000} s`), 'another time');
  });
});
