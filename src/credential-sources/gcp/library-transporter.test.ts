import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { RegistryError } from '../../errors.js';
import { openDirectCaller } from '../../outgoing/metadata/direct-caller.js';
import { startLoopbackServer } from '../../testing/loopback-server.js';
import { isAskedWith } from './asked-urls.js';
import { type KeyFile, parseKeyFile } from './key-file.js';
import { LibraryTransporter } from './library-transporter.js';

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
const federated = (credential_source: object) => ({
  ...{ type: 'external_account', audience: 'pool', subject_token_type: 'jwt', credential_source },
});
const user = { type: 'authorized_user', client_id: 'id', client_secret: 'secret', refresh_token: 'token' };
const iam = 'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken';
const files = {
  key: { type: 'service_account', client_email: 'a@b.c', private_key: privateKey },
  user,
  impersonated: {
    ...{ type: 'impersonated_service_account', service_account_impersonation_url: iam },
    source_credentials: user,
  },
  file: federated({ file: '/token' }),
  url: federated({ url: 'http://127.0.0.1:1/token' }),
  aws: federated({
    ...{
      environment_id: 'aws1',
      url: 'http://169.254.169.254/role',
      region_url: 'http://169.254.169.254/az',
    },
    regional_cred_verification_url:
      'https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15',
  }),
} as const;

const parsed = (kind: keyof typeof files): KeyFile => parseKeyFile(JSON.stringify(files[kind]));

describe('with a file of Google Cloud', () => {
  const oauth = 'https://oauth2.googleapis.com/token';
  const sts = 'https://sts.googleapis.com/v1/token';
  const rows: Readonly<Record<string, readonly (keyof typeof files)[]>> = {
    [oauth]: ['key', 'user', 'impersonated'],
    'https://oauth2.googleapis.com/tokeninfo': [],
    'http://oauth2.googleapis.com/token': [],
    'https://oauth2.evil.example/token': [],
    [sts]: ['file', 'url', 'aws'],
    'https://sts.storage.googleapis.com/v1/token': [],
    'https://sts.evil.example/v1/token': [],
    'http://sts.googleapis.com/v1/token': [],
    [iam]: ['impersonated', 'file', 'url', 'aws'],
    'https://evil.example/steal': [],
    'https://cloudresourcemanager.googleapis.com/v1/projects/1': [],
    'http://127.0.0.1:1/token': ['url'],
    'http://127.0.0.1:1/other': [],
    'http://127.0.0.1:2/token': [],
    'http://169.254.169.254/role/instance': ['aws'],
    'http://169.254.169.254/az': ['aws'],
    'http://169.254.169.254:8080/az': [],
    'http://[fd00:ec2::254]/az': [],
  };
  for (const [url, expected] of Object.entries(rows)) {
    test(`${url} is asked with: ${expected.join(', ') || 'none'}`, () => {
      const kinds = Object.keys(files) as (keyof typeof files)[];
      assert.deepEqual(
        kinds.filter((kind) => isAskedWith(parsed(kind), new URL(url))),
        kinds.filter((kind) => expected.includes(kind)),
      );
    });
  }

  test('what the library asks for elsewhere is not sent', async (t) => {
    const asked: (string | undefined)[] = [];
    const server = await startLoopbackServer((request, response) => {
      asked.push(request.url);
      response.end('{}');
    });
    const caller = openDirectCaller({ timeout: 5_000 });
    t.after(() => Promise.all([server.close(), caller.close()]));
    const { signal } = new AbortController();
    const file = parseKeyFile(JSON.stringify(federated({ url: `${server.url}/token` })));
    const transporter = new LibraryTransporter({ caller, direct: caller }, file, signal);
    const data = new URLSearchParams({ subject_token: 'hunter2' });
    await assert.rejects(
      transporter.request({ url: `${server.url}/steal`, method: 'POST', data }),
      /no token/,
    );
    assert.ok(transporter.failure instanceof RegistryError, 'no reason is kept');
    assert.match(transporter.failure.reason ?? '', /tokens sent to 127\.0\.0\.1:\d+, .*nothing was sent$/);
    await transporter.request({ url: `${server.url}/token` });
    assert.deepEqual(asked, ['/token']);
  });
});
