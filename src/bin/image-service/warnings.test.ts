import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadImageServiceConfiguration } from '../../config/image-service/load.js';
import { imageServiceWarnings } from './warnings.js';

const directory = mkdtempSync(join(tmpdir(), 'image-service-warnings-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const cri = 'runtime: { type: cri, endpoint: unix:///run/containerd/containerd.sock }';
const anonymous = 'credentials: { type: anonymous }';
const rules = (...matches: readonly string[]) =>
  `images:\n${matches.map((match) => `  - { match: ${match}, ${anonymous} }\n`).join('')}`;

const cases: readonly (readonly [what: string, text: string, settings: readonly string[]])[] = [
  ['nothing', '', []],
  ['rules of different registries', rules('a.example.com/**', 'b.example.com/**'), []],
  ['a narrow rule before a wide one', rules('a.example.com/team/*', 'a.example.com/**'), []],
  ['a wide rule before a narrow one', rules('a.example.com/**', 'a.example.com/team/*'), ['images[1]']],
  ['one pattern twice', rules('a.example.com/team/*', 'a.example.com/team/*'), ['images[1]']],
  ['a pattern of hosts before one of them', rules('"*.example.com/**"', 'a.example.com/x'), ['images[1]']],
  [
    'a pattern of hosts before a narrower one',
    rules('"*.example.com/**"', '"*.b.example.com/**"'),
    ['images[1]'],
  ],
  ['a pattern of hosts after a narrower one', rules('"*.b.example.com/**"', '"*.example.com/**"'), []],
  [
    'a rule of one namespace before one of all',
    `images:\n  - { match: a.example.com/**, namespaces: [x], ${anonymous} }\n  - { match: a.example.com/**, ${anonymous} }\n`,
    [],
  ],
  [
    'a rule of all namespaces before one of some',
    `images:\n  - { match: a.example.com/**, ${anonymous} }\n  - { match: a.example.com/**, namespaces: [x], ${anonymous} }\n`,
    ['images[1]'],
  ],
  [
    'a rule of the same namespaces before',
    `images:\n  - { match: a.example.com/**, namespaces: [x, "w-*"], ${anonymous} }\n  - { match: a.example.com/b, namespaces: [w-1, x], ${anonymous} }\n`,
    ['images[1]'],
  ],
  [
    'a rule of some of its namespaces before',
    `images:\n  - { match: a.example.com/**, namespaces: [x], ${anonymous} }\n  - { match: a.example.com/**, namespaces: [x, y], ${anonymous} }\n`,
    [],
  ],
  [
    'a rule of the same annotations before',
    `images:\n  - { match: a.example.com/**, annotations: { a: "b*" }, ${anonymous} }\n  - { match: a.example.com/**, annotations: { a: bc, d: e }, ${anonymous} }\n`,
    ['images[0].annotations', 'images[1]', 'images[1].annotations'],
  ],
  [
    'a rule of other annotations before',
    `images:\n  - { match: a.example.com/**, annotations: { d: e }, ${anonymous} }\n  - { match: a.example.com/**, annotations: { a: bc }, ${anonymous} }\n`,
    ['images[0].annotations', 'images[1].annotations'],
  ],
  [
    'annotations',
    `images: [{ match: a.example.com/**, annotations: { a: b }, ${anonymous} }]`,
    ['images[0].annotations'],
  ],
  [
    "pods' tokens alone",
    'images: [{ match: a.example.com/**, podIdentity: { audience: a } }]',
    ['images[0].podIdentity'],
  ],
  [
    "pods' tokens with a source",
    `images: [{ match: a.example.com/**, podIdentity: { audience: a }, ${anonymous} }]`,
    [],
  ],
  ['Docker Hub', rules('docker.io/**'), ['images[0].match']],
  ['Docker Hub by its other name', rules('index.docker.io/**'), ['images[0].match']],
  [
    'a registry token for containerd',
    'images: [{ match: a.example.com/**, credentials: { type: static, registryToken: { env: PATH } } }]',
    ['images[0].credentials.registryToken'],
  ],
  ['sockets of the group', "socketMode: '0660'", ['socketMode']],
  ['a directory of the group', "directoryMode: '0750'", ['directoryMode']],
  ['narrower modes', "socketMode: '0200'\ndirectoryMode: '0500'", []],
  ['metrics for everybody', 'admin: { listen: ":9090" }', ['admin.listen']],
  ['metrics for this machine', 'admin: { listen: "127.0.0.1:9090" }', []],
  ['metrics for this machine, by IPv6', 'admin: { listen: "[::1]:9090" }', []],
];

async function warningsOf(text: string) {
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  const loaded = await loadImageServiceConfiguration(file);
  assert.ok('configuration' in loaded, JSON.stringify(loaded));
  return imageServiceWarnings(loaded.configuration);
}

for (const [what, text, settings] of cases) {
  test(`${what}: ${settings.length === 0 ? 'no warning' : settings.join()}`, async () => {
    const found = await warningsOf(`${cri}\n${text}`);
    assert.deepEqual(
      found.map(({ setting }) => setting),
      settings,
    );
  });
}

test('a file for the credential provider alone: that serve needs a runtime, and nothing else of serve', async () => {
  const found = await warningsOf(
    'images: [{ match: a.example.com/**, podIdentity: { audience: a } }, { match: b.example.com/**, credentials: { type: static, registryToken: { env: PATH } } }]',
  );
  assert.deepEqual(found, [
    { setting: 'runtime', message: 'is missing: fine for `credential-provider`; `serve` needs it' },
  ]);
});

test('Docker Engine takes registry tokens', async () => {
  const found = await warningsOf(
    'runtime: { type: docker }\nimages: [{ match: a.example.com/**, credentials: { type: static, registryToken: { env: PATH } } }]',
  );
  assert.deepEqual(found, []);
});

for (const [match, message] of [
  ['docker.io/**', /such as busybox, are not matched: write docker\.io\/library\/busybox there/],
  ['docker.io/acme/*', /such as acme\/app, are not matched: write docker\.io\/acme\/app there/],
  ['docker.io/*', /matches nothing of docker\.io: .* write docker\.io\/\*\*/],
] as const) {
  test(`${match}: what is not matched`, async () => {
    const [warning] = await warningsOf(`${cri}\n${rules(match)}`);
    assert.match(warning?.message ?? '', message);
  });
}
