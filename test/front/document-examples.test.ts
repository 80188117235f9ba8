import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import { checkOpening, checkWarnings } from '../../src/bin/check.js';
import { openingProblems } from '../../src/bin/image-service/check.js';
import { imageServiceWarnings } from '../../src/bin/image-service/warnings.js';
import { failedPolicyTests } from '../../src/bin/policy-tests.js';
import { loadImageServiceConfiguration } from '../../src/config/image-service/load.js';
import { loadConfiguration } from '../../src/config/load.js';
import { formatProblem } from '../../src/config/problem.js';
import { createAuthority } from '../../src/testing/certificates.js';
import { FakeLog, FakeMetrics } from '../../src/testing/index.js';

// `check` on every configuration that a document shows, of the program that it is for. What a block leaves out comes from
// the first block of its document that says it, else from a frame.

type Settings = Readonly<Record<string, unknown>>;

interface Block {
  /** `docs/sign-in.md:14` */
  readonly at: string;
  readonly document: string;
  readonly text: string;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const frame: Settings = {
  externalUrl: 'https://docker.example.com',
  upstreams: { gcr: { url: 'https://gcr.io' }, hub: { url: 'https://docker.io' } },
  routes: [
    { prefix: '', upstream: 'gcr' },
    { prefix: 'hub/', upstream: 'hub' },
  ],
  verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
  policy: [],
};
/** Of the document, where it says it, and else of no importance. */
const inherited = [...Object.keys(frame), 'token'];

/** The same for `kubelet-image-service`. */
const imageServiceFrame: Settings = {
  runtime: { type: 'cri', endpoint: 'unix:///run/containerd/containerd.sock' },
};

/** Files of other programs, by what no configuration of ours has. All that is none of these must be one of ours. */
const foreign: Readonly<Record<string, (block: Settings) => boolean>> = {
  'a Kubernetes manifest': ({ apiVersion, kind }) => apiVersion !== undefined && kind !== undefined,
  'a GitHub workflow': ({ steps }) => Array.isArray(steps),
  'a GitLab pipeline': (block) => Object.values(block).some((job) => isSettings(job) && 'script' in job),
  'a configuration of docker-registry': ({ auth }) => isSettings(auth) && isSettings(auth.token),
  'one of Envoy': (block) => 'forward_client_cert_details' in block,
  // Its own test reads them.
  'one of docker-credential-registry-proxy': ({ registries }) => Array.isArray(registries),
};

function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function blocksOf(document: string, text: string): readonly Block[] {
  return [...text.matchAll(/^```ya?ml\n([\s\S]*?)^```$/gm)].map(({ 1: block = '', index }) => ({
    at: `${document}:${text.slice(0, index).split('\n').length}`,
    ...{ document, text: block },
  }));
}

/** @returns undefined: not ours, or with an ellipsis in place of settings, or with a plugin that its own test runs */
function settingsOf({ text }: Block): Settings | undefined {
  const [first] = parseAllDocuments(text);
  assert.deepEqual(first?.errors, [], text);
  const value: unknown = first.toJS();
  if (/[{,] … }$/m.test(text) || /\bmodule: /.test(text)) return undefined;
  if (Array.isArray(value)) return { verifiers: value };
  assert.ok(isSettings(value), `no mapping: ${text}`);
  if (Object.values(foreign).some((isOne) => isOne(value))) return undefined;
  return 'rules' in value ? { policy: { file: 'policy.yaml' } } : value;
}

function whole(settings: Settings, document: readonly Settings[]): Settings {
  const said = (key: string) => document.find((one) => key in one)?.[key] ?? frame[key];
  const missing = inherited.filter((key) => !(key in settings) && said(key) !== undefined);
  const own = isSettings(settings.upstreams) ? Object.keys(settings.upstreams)[0] : undefined;
  return {
    listen: '127.0.0.1:0',
    ...Object.fromEntries(missing.map((key) => [key, said(key)])),
    ...(own !== undefined && { routes: [{ prefix: '', upstream: own }] }),
    ...settings,
  };
}

/** By what it says; a few settings have the same name in both programs, and are of the one that the document is about. */
function isOfImageService({ document }: Block, settings: Settings): boolean {
  if ('runtime' in settings || 'images' in settings) return true;
  return (
    document.startsWith('docs/kubelet-image-service') && !Object.keys(frame).some((key) => key in settings)
  );
}

function wholeOfNode(settings: Settings, document: readonly Settings[]): Settings {
  const { runtime } = document.find((one) => 'runtime' in one) ?? imageServiceFrame;
  return { runtime, ...settings };
}

const authority = await createAuthority({ notAfter: Date.now() + 366 * 86_400_000 });
const contents: Readonly<Record<string, string>> = {
  ...{ crt: authority.certificate, pem: authority.certificate, key: authority.privateKey },
  ...{ json: '{}', htpasswd: '', mjs: '#!/usr/bin/env node\n' },
};
/** What a file with `google` in its name holds. */
const googleKey = JSON.stringify({
  ...{ type: 'service_account', client_email: 'robot@my-project.iam.gserviceaccount.com' },
  private_key: authority.privateKey,
});

/** What a directory of AWS's certificates holds. */
const awsCertificate = (await createAuthority({ kind: 'rsa' })).certificate;

const directory = mkdtempSync(join(tmpdir(), 'drp-documents-'));
after(() => rmSync(directory, { recursive: true }));
let count = 0;

/** What `check` says. Files that the settings name are there, below the configuration's directory. */
async function problemsOf(block: Block, document: readonly Block[]): Promise<readonly string[]> {
  const settings = settingsOf(block) ?? assert.fail(`not ours: ${block.at}`);
  const isOfNode = isOfImageService(block, settings);
  const others = document.flatMap((one) => {
    const other = settingsOf(one);
    return other !== undefined && isOfImageService(one, other) === isOfNode ? [other] : [];
  });
  const file = isOfNode
    ? writeConfiguration(wholeOfNode(settings, others))
    : writeConfiguration(whole(settings, others));
  const policy = [block, ...document].find((one) => /^rules:/m.test(one.text));
  writeFileSync(join(dirname(file), 'policy.yaml'), policy?.text ?? '');
  return isOfNode ? imageServiceProblems(file) : proxyProblems(file);
}

/** @returns its path, in a directory of its own */
function writeConfiguration(settings: Settings): string {
  const base = join(directory, String(count++));
  const text = stringify(settings).replace(/(?<=[\s"'])\/(?=(?:run|var|etc|usr)\/)/g, './');
  const files = text.matchAll(
    /(?<=[\s"'])(?:\.\/)?(?:(?:run|usr)\/[\w./-]+|etc\/kubelet-image-service\/[\w/-]+(?=["',\s])|[\w./-]+\.([a-z]+))(?=["',\s])/g,
  );
  for (const [name, extension = ''] of files) {
    const known = name.includes('google') ? googleKey : contents[extension];
    const secret = /(?:run|etc)\//.test(name) ? 'secret\n' : undefined;
    const other = name.includes('usr/') ? '#!/bin/sh\n' : secret;
    const content = known ?? other;
    mkdirSync(dirname(join(base, name)), { recursive: true });
    if (content !== undefined) writeFileSync(join(base, name), content, { mode: 0o700 });
  }
  for (const [name] of text.matchAll(/[\w./-]*aws-certificates/g)) {
    mkdirSync(join(base, name), { recursive: true });
    writeFileSync(join(base, name, 'eu-west-1.pem'), awsCertificate);
  }
  mkdirSync(join(base, 'var/lib/docker-registry-proxy'), { recursive: true });
  const file = join(base, 'config.yaml');
  writeFileSync(file, text);
  return file;
}

async function proxyProblems(file: string): Promise<readonly string[]> {
  const loaded = await loadConfiguration(file, undefined, {});
  if ('problems' in loaded) return loaded.problems.map(formatProblem);
  const { configuration } = loaded;
  const surroundings = { clock: Date, log: new FakeLog(), metrics: new FakeMetrics() };
  const problems = await checkOpening(configuration, surroundings);
  if (problems.length > 0) return problems;
  return [
    ...(await checkWarnings(configuration, surroundings)),
    ...(await failedPolicyTests(configuration, surroundings)),
  ];
}

async function imageServiceProblems(file: string): Promise<readonly string[]> {
  const loaded = await loadImageServiceConfiguration(file, undefined, {});
  if ('problems' in loaded) return loaded.problems.map(formatProblem);
  const { configuration } = loaded;
  const surroundings = { clock: Date, log: new FakeLog(), metrics: new FakeMetrics() };
  const problems = await openingProblems(configuration, surroundings);
  const warnings = imageServiceWarnings(configuration)
    // A file for the credential provider alone: `serve` is warned of.
    .filter(({ setting }) => !setting.endsWith('.podIdentity'))
    .map(({ setting, message }) => `${setting} ${message}`);
  return [...problems, ...warnings];
}

const documents = ['README.md', ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })]
  .filter((name) => name.endsWith('.md'))
  .map((name) => (name === 'README.md' ? name : `docs/${name}`))
  .map((name) => blocksOf(name, readFileSync(join(root, name), 'utf8')));

describe('the configuration that documents show', () => {
  for (const blocks of documents) {
    for (const block of blocks.filter((one) => settingsOf(one) !== undefined)) {
      test(block.at, async () => assert.deepEqual(await problemsOf(block, blocks), []));
    }
  }

  test('is found', () => {
    const ours = documents.flat().filter((one) => settingsOf(one) !== undefined);
    assert.ok(ours.length >= 25, `${ours.length} blocks`);
    assert.ok(new Set(ours.map(({ document }) => document)).size >= 14, 'in few documents');
  });

  test('is found of either program', () => {
    const ofNode = documents.flat().filter((one) => {
      const settings = settingsOf(one);
      return settings !== undefined && isOfImageService(one, settings);
    });
    assert.ok(ofNode.length >= 5, `${ofNode.length} blocks`);
  });

  for (const [what, before, behind] of [
    ['an endpoint that is none', 'unix:///run/containerd', 'tcp://run/containerd'],
    ['a key that is none', 'match:', 'matches:'],
    ['a pattern that is none', 'docker.example.com/**', 'docker.example.com'],
    ['a key of a driver that is none', 'type: static', 'type: static, audience: x'],
    ['a rule that never counts', 'images:', 'images:\n  - { match: "*.com/**", credentials: { type: gcp } }'],
  ] as const) {
    test(`of the image service would be found with ${what}`, async () => {
      const blocks = documents.find(([first]) => first?.document === 'docs/kubelet-image-service.md') ?? [];
      const block = blocks.find(({ text }) => text.includes('runtime:')) ?? assert.fail('no block');
      const text = block.text.replace(before, behind);
      assert.notEqual(text, block.text);
      assert.notDeepEqual(await problemsOf({ ...block, text }, []), []);
    });
  }

  for (const [what, before, behind] of [
    ['a key that is none', 'routes:', 'roots:'],
    ['a key of a driver that is none', 'file: users.htpasswd', 'fil: users.htpasswd'],
    ['a verifier that is none', '"local:*"', '"lokal:*"'],
    ['a group of nobody', 'names: ["local:*"]', 'groups: ["local:dev"]'],
  ] as const) {
    test(`would be found with ${what}`, async () => {
      const [block] = documents[0] ?? [];
      const text = (block?.text ?? '').replace(before, behind);
      assert.notEqual(text, block?.text);
      assert.notDeepEqual(await problemsOf({ at: '', document: '', text }, []), []);
    });
  }
});
