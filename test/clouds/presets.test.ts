import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Credential, ProbeStep, Upstream } from '../../src/contracts/index.js';
import { Secret } from '../../src/secret.js';
import { FakeCredentialSource, FakeLog, FakeMetrics } from '../../src/testing/index.js';
import { presetFor } from '../../src/upstreams/presets/index.js';
import { driver } from '../../src/upstreams/registry.js';
import { type Exchange, startWorld, type World } from './harness/world.js';

// Which hosts a preset is for, and what it makes of them: by the table, and by asking hosts of these names.

const account = '123456789012';
const probing = { signal: new AbortController().signal, timeLimit: 20_000 };

describe('the preset of a host', () => {
  const table: readonly (readonly [url: string, preset: string, credentials?: string])[] = [
    ['docker.io', 'docker-hub'],
    ['index.docker.io', 'docker-hub'],
    ['registry-1.docker.io', 'docker-hub'],
    ['registry.hub.docker.com', 'docker-hub'],
    ['hub.docker.com', 'docker-hub'],
    ['https://docker.io/', 'docker-hub'],
    ['https://docker.io:443', 'docker-hub'],
    ['DOCKER.io', 'docker-hub'],
    ['evil-docker.io', 'generic'],
    ['docker.io.evil.com', 'generic'],
    ['auth.docker.io', 'generic'],
    ['docker.io:5000', 'generic'],
    ['http://docker.io:5000', 'generic'],

    ['gcr.io', 'gcr', 'gcp'],
    ['us.gcr.io', 'gcr', 'gcp'],
    ['eu.gcr.io', 'gcr', 'gcp'],
    ['asia.gcr.io', 'gcr', 'gcp'],
    ['GCR.IO', 'gcr', 'gcp'],
    ['mirror.gcr.io', 'gcr-mirror'],
    ['x.gcr.io', 'generic'],
    ['x.gcr.io.evil.com', 'generic'],
    ['evilgcr.io', 'generic'],
    ['gcr.io:8443', 'generic'],

    ['europe-docker.pkg.dev', 'artifact-registry', 'gcp'],
    ['us-central1-docker.pkg.dev', 'artifact-registry', 'gcp'],
    ['northamerica-northeast1-docker.pkg.dev', 'artifact-registry', 'gcp'],
    ['docker.pkg.dev', 'generic'],
    ['a.us-docker.pkg.dev', 'generic'],
    ['us-docker.pkg.dev.evil.com', 'generic'],
    ['us-docker-pkg.dev', 'generic'],
    ['europe-npm.pkg.dev', 'generic'],

    [`${account}.dkr.ecr.eu-west-1.amazonaws.com`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr-fips.us-gov-west-1.amazonaws.com`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.cn-north-1.amazonaws.com.cn`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.us-iso-east-1.c2s.ic.gov`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk`, 'ecr', 'ecr'],
    [`${account}.dkr.ecr.eusc-de-east-1.amazonaws.eu`, 'ecr', 'ecr'],
    [`${account}.dkr-ecr.eu-west-1.on.aws`, 'ecr', 'ecr'],
    [`${account}.dkr-ecr-fips.us-east-1.on.aws`, 'ecr', 'ecr'],
    [`${account}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn`, 'ecr', 'ecr'],
    [`${account}.dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu`, 'ecr', 'ecr'],
    [`${account}.dkr-ecr.us-iso-east-1.on.aws.ic.gov`, 'ecr', 'ecr'],
    ['12345678901.dkr.ecr.eu-west-1.amazonaws.com', 'generic'],
    [`x${account}.dkr.ecr.eu-west-1.amazonaws.com`, 'generic'],
    [`x.${account}.dkr.ecr.eu-west-1.amazonaws.com`, 'generic'],
    [`${account}.dkr.ecr.eu-west-1.amazonaws.com.evil.com`, 'generic'],
    [`${account}.dkr.ecr.eu-west-1.evil-amazonaws.com`, 'generic'],
    [`${account}.dkr.ecr.evil.com.amazonaws.com`, 'generic'],
    [`${account}.dkrxecr.eu-west-1.amazonaws.com`, 'generic'],
    [`${account}.dkr.ecr.eu-west-1.on.aws`, 'generic'],
    ['public.ecr.aws', 'ecr-public'],
    ['ecr-public.aws.com', 'ecr-public'],
    ['evil.public.ecr.aws', 'generic'],

    ['contoso.azurecr.io', 'acr', 'acr'],
    ['contoso-a1b2c3.azurecr.io', 'acr', 'acr'],
    ['contoso.eastus.geo.azurecr.io', 'acr', 'acr'],
    ['contoso.azurecr.cn', 'acr', 'acr'],
    ['contoso.azurecr.us', 'acr', 'acr'],
    ['contoso.azurecr.eaglex.ic.gov', 'acr', 'acr'],
    ['azurecr.io', 'generic'],
    ['contoso.evil.azurecr.io', 'generic'],
    ['contoso.azurecr.io.evil.com', 'generic'],
    ['contoso-azurecr.io', 'generic'],
    ['contoso.azurecr.de', 'generic'],

    ['quay.io', 'quay'],
    ['evil-quay.io', 'generic'],
    ['ghcr.io', 'ghcr'],
    ['registry.gitlab.com', 'gitlab'],
    ['registry.gitlab.com.evil.com', 'generic'],
    ['registry.digitalocean.com', 'digital-ocean'],
    ['rg.fr-par.scw.cloud', 'scaleway'],
    ['rg.evil.com.scw.cloud', 'generic'],
    ['registry.example.com', 'generic'],
    ['localhost:5000', 'generic'],
  ];
  for (const [url, name, credentials] of table) {
    test(`${url}: ${name}, ${credentials ?? 'asked anonymously'}`, () => {
      const parsed = driver.config.parse({ url });
      assert.equal(presetFor((parsed as { url: URL }).url).name, name);
      assert.equal(driver.usualCredentials?.(parsed), credentials);
    });
  }

  for (const [url, name] of table) {
    if (name === 'generic' || url.includes('/') || url.includes(':')) continue;
    test(`what only begins or ends with ${url} is somebody else's`, () => {
      for (const host of [`${url}.evil.com`, `${url}evil`, `evil.${url}`]) {
        assert.equal(presetFor(new URL(`https://${host}`)).name, 'generic', host);
      }
    });
  }
});

describe('a url', () => {
  const good: readonly (readonly [text: string, origin: string])[] = [
    ['gcr.io', 'https://gcr.io'],
    ['registry.example.com:5000', 'https://registry.example.com:5000'],
    ['[::1]:5000', 'https://[::1]:5000'],
    ['localhost:5000', 'https://localhost:5000'],
    ['http://localhost:5000', 'http://localhost:5000'],
    ['http://registry.example.com', 'http://registry.example.com'],
    ['https://gcr.io/', 'https://gcr.io'],
  ];
  for (const [text, origin] of good) {
    test(`${text} is ${origin}`, () => {
      assert.equal((driver.config.parse({ url: text }) as { url: URL }).url.origin, origin);
    });
  }

  const otherwise = /^expected a host such as gcr\.io .*, or a URL such as https:\/\/gcr\.io$/;
  const bad: readonly (readonly [text: string, message: RegExp])[] = [
    ['', otherwise],
    ['docker.io/library', /^expected docker\.io, without \/library: .*`rewrite: library\/`/],
    ['https://gcr.io/my-project/app:v1', /^expected gcr\.io, without .*`rewrite: my-project\/app\/`/],
    ['https://index.docker.io/v1/', /^expected index\.docker\.io, without \/v1\/$/],
    ['https://quay.io/v2/', /^expected quay\.io, without \/v2\/$/],
    ['http://gcr.io', /^expected gcr\.io, without http:\/\/: it speaks https only$/],
    ['http://contoso.azurecr.io', /^expected contoso\.azurecr\.io, without http:/],
    ['docker://gcr.io', /^expected gcr\.io, without docker:\/\/$/],
    ['oci://ghcr.io/org', /^expected ghcr\.io, without oci:\/\/$/],
    ['gcr.io.', otherwise],
    ['gcr.io:99999', otherwise],
    ['gcr .io', otherwise],
    ['gcr.io\\@evil.com', otherwise],
    ['https://gcr.io?x=1', otherwise],
    ['https://gcr.io#x', otherwise],
    ['https:gcr.io', otherwise],
    ['//gcr.io', otherwise],
    ['https:///gcr.io', otherwise],
    ['file:///etc/passwd', otherwise],
    ['https://acme:hunter2@gcr.io', /^expected a registry without a user name or password: .*`credentials`$/],
    ['acme:hunter2@gcr.io', /^expected a registry without a user name or password/],
    ['https://hunter2@gcr.io/x', /^expected a registry without a user name or password/],
  ];
  for (const [text, message] of bad) {
    test(`${JSON.stringify(text)} is none`, () => {
      const parsed = driver.config.safeParse({ url: text });
      const said = parsed.error?.issues[0]?.message ?? 'it was taken';
      assert.match(said, message);
      assert.ok(!said.includes('hunter2'), 'a password is repeated');
    });
  }
});

describe('a registry, by its name alone', () => {
  let world: World;
  let directory: string;
  before(async () => {
    world = await startWorld();
    directory = mkdtempSync(join(tmpdir(), 'drp-presets-'));
    writeFileSync(join(directory, 'world.pem'), world.authority);
  });
  after(async () => {
    await world.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const secret = 'the-password';
  const credential: Credential = { kind: 'basic', username: 'acme', password: new Secret(secret) };

  async function open(t: TestContext, settings: Readonly<Record<string, unknown>>): Promise<Upstream> {
    const config = driver.config.parse({ ca: 'world.pem', proxy: world.proxyUrl, ...settings });
    const upstream = await driver.open(config, {
      id: 'one',
      baseDirectory: directory,
      clock: Date,
      log: new FakeLog(),
      metrics: new FakeMetrics(),
      credentials: new FakeCredentialSource([credential]),
    });
    t.after(() => upstream.close());
    return upstream;
  }

  /** A Bearer registry: its tokens are `t`, for whoever shows the password. */
  function bearer(registry: string, realm: string): void {
    const { host, pathname } = new URL(realm);
    const token = (exchange: Exchange) => {
      const shown = Buffer.from(`acme:${secret}`).toString('base64');
      const isUser = exchange.request.headers.authorization === `Basic ${shown}`;
      exchange.json(isUser ? 200 : 401, isUser ? { token: 't' } : {});
    };
    const front = (exchange: Exchange) => {
      if (host === registry && exchange.url.pathname === pathname) return token(exchange);
      if (exchange.request.headers.authorization === 'Bearer t') return exchange.json(200, {});
      return exchange.json(401, {}, { 'www-authenticate': `Bearer realm="${realm}",service="s"` });
    };
    world.host(registry, front);
    if (host !== registry) world.host(host, token);
  }

  const results = (steps: readonly ProbeStep[]) =>
    Object.fromEntries(steps.map(({ step, result }) => [step, result]));
  const letIn = { name: 'not needed', credential: 'fine', registry: 'fine', token: 'fine', access: 'fine' };

  const table: readonly (readonly [url: string, registry: string, realm: string])[] = [
    ['docker.io', 'registry-1.docker.io', 'https://auth.docker.io/token'],
    ['gcr.io', 'gcr.io', 'https://gcr.io/v2/token'],
    ['europe-docker.pkg.dev', 'europe-docker.pkg.dev', 'https://europe-docker.pkg.dev/v2/token'],
    ['contoso.azurecr.io', 'contoso.azurecr.io', 'https://contoso.azurecr.io/oauth2/token'],
    ['public.ecr.aws', 'public.ecr.aws', 'https://public.ecr.aws/token/'],
    ['quay.io', 'quay.io', 'https://quay.io/v2/auth'],
    ['ghcr.io', 'ghcr.io', 'https://ghcr.io/token'],
    ['registry.gitlab.com', 'registry.gitlab.com', 'https://gitlab.com/jwt/auth'],
    [
      'registry.digitalocean.com',
      'registry.digitalocean.com',
      'https://api.digitalocean.com/v2/registry/auth',
    ],
    [
      'rg.nl-ams.scw.cloud',
      'rg.nl-ams.scw.cloud',
      'https://api.scaleway.com/registry-internal/v1/regions/nl-ams/tokens',
    ],
  ];
  for (const [url, registry, realm] of table) {
    test(`${url} is asked at ${registry}, with tokens of ${new URL(realm).host}`, async (t) => {
      bearer(registry, realm);
      const upstream = await open(t, { url });
      const steps = await upstream.probe(probing);
      assert.deepEqual(results(steps), letIn, JSON.stringify(steps));
    });
  }

  test('tokens of any other host are refused, and no credential goes there', async (t) => {
    bearer('registry.gitlab.com', 'https://evil-gitlab.com/jwt/auth');
    const upstream = await open(t, { url: 'registry.gitlab.com' });
    const steps = await upstream.probe(probing);
    assert.equal(steps.at(-1)?.result, 'failed', JSON.stringify(steps));
    assert.match(steps.at(-1)?.fix ?? '', /`realm`/);
    assert.deepEqual(world.requestsTo('evil-gitlab.com'), []);
  });

  test('a realm that is configured counts beside the preset', async (t) => {
    bearer('registry.gitlab.com', 'https://sso.example.com/token');
    const upstream = await open(t, { url: 'registry.gitlab.com', realm: 'https://sso.example.com' });
    const steps = await upstream.probe(probing);
    assert.deepEqual(results(steps), letIn, JSON.stringify(steps));
  });

  test('a name that the proxy does not know is told', async (t) => {
    const upstream = await open(t, { url: 'no-such-registry.azurecr.io' });
    const steps = await upstream.probe(probing);
    const registry = steps.find(({ step }) => step === 'registry');
    assert.match(
      registry?.said ?? '',
      /^no answer from no-such-registry\.azurecr\.io: the proxy does not lead there$/,
    );
  });

  test('a bare name is in library/ at Docker Hub and its mirror, unless another namespace is configured', async (t) => {
    const nameAt = async (settings: Readonly<Record<string, unknown>>) =>
      (await open(t, settings)).canonicalName('alpine');
    assert.equal(await nameAt({ url: 'docker.io' }), 'library/alpine');
    assert.equal(await nameAt({ url: 'mirror.gcr.io' }), 'library/alpine');
    assert.equal(await nameAt({ url: 'docker.io', defaultNamespace: 'acme' }), 'acme/alpine');
    assert.equal(await nameAt({ url: 'gcr.io' }), 'alpine');
  });

  test('its name in credential stores is the one docker knows', async (t) => {
    assert.equal((await open(t, { url: 'registry-1.docker.io' })).registry, 'docker.io');
    assert.equal((await open(t, { url: 'https://GCR.io' })).registry, 'gcr.io');
    assert.equal((await open(t, { url: 'registry.example.com:5000' })).registry, 'registry.example.com:5000');
  });
});
