import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { CheckedDirectory, run } from './checking.js';

// What `check` can know about upstreams and their credentials without asking anybody.

const directory = new CheckedDirectory();
after(() => directory.remove());

const ecr = (account: string, region: string) => `${account}.dkr.ecr.${region}.amazonaws.com`;
const account = '123456789012';
const federated = { type: 'acr', tenant: 'contoso.com', clientId: '11111111-2222-3333-4444-555555555555' };

const { GOOGLE_APPLICATION_CREDENTIALS: _, ...environment } = process.env;

function check(file: string) {
  return run(['check', '--config', file], { ...environment, AZURE_SECRET: 'a-secret-of-azure' });
}

const acr = { ...federated, clientSecret: { env: 'AZURE_SECRET' } };

describe('check', () => {
  test('refuses credentials that can never be had for their registry, and says where they stand', async () => {
    const file = directory.configuration('never.yaml', {
      ecr: { url: 'images.example.com', credentials: { type: 'ecr' } },
      acr: { url: 'r.example.com', credentials: [{ type: 'anonymous' }, acr] },
      gcp: { url: 'g.example.com', credentials: { type: 'gcp' } },
      other: { url: 'docker.io', credentials: { type: 'gcp', registryHosts: ['registry-1.docker.io'] } },
    });
    const { code, stderr } = await check(file);
    assert.equal(code, 2, stderr);
    const lines = stderr.trim().split('\n');
    assert.equal(lines.length, 4, stderr);
    for (const [i, [setting, message]] of (
      [
        ['upstreams.ecr.credentials', /images\.example\.com is no registry of Amazon's .*set `region`$/],
        [
          'upstreams.acr.credentials[1]',
          /r\.example\.com is no registry of Azure's .*`registryHosts: \[r\.ex/,
        ],
        ['upstreams.gcp.credentials', /g\.example\.com is no registry of Google's .*`registryHosts: \[g\.ex/],
        ['upstreams.other.credentials', /docker\.io is no registry of Google's/],
      ] as const
    ).entries()) {
      const line = lines[i] ?? '';
      assert.match(line, /never\.yaml:\d+:\d+: /);
      assert.ok(line.includes(`: ${setting}: `), line);
      assert.match(line, message);
    }
  });

  test('takes them where the registry is named', async () => {
    const file = directory.configuration('named.yaml', {
      ecr: { url: 'images.example.com', credentials: { type: 'ecr', region: 'eu-west-1' } },
      acr: { url: 'r.example.com', credentials: { ...acr, registryHosts: ['R.example.com'] } },
      gcp: { url: 'g.example.com', credentials: { type: 'gcp', registryHosts: ['g.example.com'] } },
      usual: { url: ecr(account, 'us-gov-west-1') },
      isolated: { url: ecr(account, 'eusc-de-east-1').replace('.com', '.eu') },
      contoso: { url: 'contoso.azurecr.io', credentials: acr },
      own: { url: 'x.azurecr.io:8443' },
      google: { url: 'europe-docker.pkg.dev', proxy: 'http://proxy.example.com' },
      mirror: { url: 'mirror.gcr.io' },
      public: { url: 'public.ecr.aws' },
    });
    assert.deepEqual(await check(file), { code: 0, stdout: `${file}: fine\n`, stderr: '' });
  });

  test('warns of what is hardly meant, and says where it stands', async () => {
    const proxy = 'http://proxy.example.com';
    const upstreams = {
      mismatch: { url: ecr(account, 'eu-west-1'), credentials: { type: 'ecr', region: 'us-east-1' } },
      misspelt: { url: 'images.example.com', credentials: { type: 'ecr', region: 'eu-wst-1' } },
      host: { url: ecr(account, 'eu-wst-1') },
      google: { url: 'pkg.dev' },
      python: { url: 'europe-west1-python.pkg.dev' },
      azure: { url: 'azurecr.io' },
      accountless: { url: 'dkr.ecr.eu-west-1.amazonaws.com' },
      short: { url: ecr('12345', 'eu-west-1') },
      regionless: { url: `${account}.dkr.ecr.amazonaws.com` },
      gallery: { url: 'gallery.ecr.aws', credentials: [{ type: 'anonymous' }, { type: 'anonymous' }] },
      proxied: { url: ecr(account, 'eu-west-1'), proxy },
      apart: { url: ecr(account, 'eu-west-1'), proxy, credentials: { type: 'ecr', proxy } },
    };
    const { code, stderr } = await check(directory.configuration('doubtful.yaml', upstreams));
    assert.equal(code, 0, stderr);
    const expected: readonly (readonly [setting: string, message: RegExp])[] = [
      [
        'mismatch.credentials.region',
        /a token of us-east-1 opens nothing in eu-west-1, where the registry is$/,
      ],
      ['misspelt.credentials.region', /eu-wst-1 looks like no region of AWS/],
      ['host.url', /eu-wst-1 looks like no region of AWS/],
      ['google.url', /pkg\.dev is not of the form LOCATION-docker\.pkg\.dev; it is asked anonymously$/],
      ['python.url', /not of the form LOCATION-docker\.pkg\.dev/],
      ['azure.url', /not of the form NAME\.azurecr\.io/],
      ['accountless.url', /not of the form ACCOUNT\.dkr\.ecr\.REGION/],
      ['short.url', /not of the form ACCOUNT\.dkr\.ecr\.REGION/],
      ['regionless.url', /not of the form ACCOUNT\.dkr\.ecr\.REGION/],
      ['gallery.url', /not of the form public\.ecr\.aws/],
      ['proxied.credentials', /`proxy` of the upstream does not count for its credentials/],
    ];
    const lines = stderr.trim().split('\n');
    assert.equal(lines.length, expected.length, stderr);
    for (const [i, [setting, message]] of expected.entries()) {
      assert.match(lines[i] ?? '', /^warning: \S+doubtful\.yaml:\d+:\d+: /);
      assert.ok(lines[i]?.includes(`: upstreams.${setting}: `), lines[i]);
      assert.match(lines[i] ?? '', message);
    }
  });

  test('says where a setting stands that cannot be opened, or the one around it', async () => {
    directory.write('bad.pem', 'no certificate');
    const file = directory.configuration('opening.yaml', {
      first: { url: 'registry.example.com', ca: 'bad.pem' },
      second: { url: 'registry.example.com', credentials: [{ type: 'docker-config', file: 'bad.pem' }] },
    });
    const { code, stderr } = await check(file);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^\S+opening\.yaml:6:9: upstreams\.first\.ca: /m);
    assert.match(stderr, /^\S+opening\.yaml:11:15: upstreams\.second\.credentials\[0\]\.file: /m);
  });

  for (const [url, name] of [
    ['hub.docker.com/u/acme', 'acme'],
    ['hub.docker.com/r/acme/app', 'acme/app'],
    ['https://hub.docker.com/_/alpine', 'library/alpine'],
    ['quay.io/repository/acme/app', 'acme/app'],
    ['registry.example.com/u/acme', 'u/acme'],
  ] as const) {
    test(`${url} is told to be \`rewrite: ${name}/\``, async () => {
      const { code, stderr } = await check(directory.configuration('pasted.yaml', { pasted: { url } }));
      assert.equal(code, 2, stderr);
      assert.ok(stderr.includes(`(\`rewrite: ${name}/\`)`), stderr);
    });
  }
});
