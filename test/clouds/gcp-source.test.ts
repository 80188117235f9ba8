import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, type TestContext, test } from 'node:test';
import type { Credential, CredentialSource } from '../../src/contracts/index.js';
import { driver } from '../../src/credential-sources/gcp.js';
import { describeError } from '../../src/errors.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import {
  describeCredentialSourceConformance,
  revealCredential,
} from '../../src/testing/conformance/credential-source.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import type { MetadataFault } from './harness/gce-metadata.js';
import { awsAudience, type GoogleCloud, startGoogleCloud } from './harness/google-token-endpoint-cloud.js';
import { startWorld, type World } from './harness/world.js';

const o = { signal: new AbortController().signal };
const known = { registry: parseRegistryHost('gcr.io'), name: parseRepositoryName('acme/app') };
const variables = [
  ...['GCE_METADATA_HOST', 'GOOGLE_APPLICATION_CREDENTIALS'],
  ...['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
];

let world: World;
let cloud: GoogleCloud;
before(() => {
  for (const name of variables) delete process.env[name];
});
beforeEach(async () => {
  world = await startWorld();
  cloud = await startGoogleCloud(world);
  process.env.GCE_METADATA_HOST = cloud.metadata.host;
});
afterEach(async () => {
  await cloud.close();
  await world.close();
});

interface Opened {
  readonly source: CredentialSource;
  readonly log: FakeLog;
  write(name: string, text: string): string;
  ask(rejected?: Credential): Promise<Extract<Credential, { kind: 'basic' }>>;
  /** @returns why not */
  fails(): Promise<string>;
}

async function open(
  t: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
  files: Readonly<Record<string, string>> = {},
): Promise<Opened> {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'gcp-'));
  t.after(() => rmSync(baseDirectory, { recursive: true }));
  const log = new FakeLog();
  const write = (name: string, text: string) => {
    writeFileSync(join(baseDirectory, name), text, { mode: 0o600 });
    return join(baseDirectory, name);
  };
  for (const [name, text] of Object.entries(files)) {
    write(name, text.replace('"subject-token"', JSON.stringify(join(baseDirectory, 'subject-token'))));
  }
  const ca = write('world.pem', world.authority);
  const dependencies = { id: 'gcr', baseDirectory, clock: Date, log, metrics: new FakeMetrics() };
  const source = await driver.open(
    driver.config.parse({ proxy: world.proxyUrl, ca, ...settings }),
    dependencies,
  );
  t.after(() => source.close());
  return {
    ...{ source, log, write },
    ask: async (rejected) => {
      const credential = await source.credentialFor(known, { ...o, ...(rejected && { rejected }) });
      assert.equal(credential?.kind, 'basic', 'no user and password');
      return credential as Extract<Credential, { kind: 'basic' }>;
    },
    fails: async () => describeError(await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE')),
  };
}

const withKey = (t: TestContext, text: string, settings: object = {}, files: object = {}) =>
  open(t, { keyFile: 'key.json', ...settings }, { 'key.json': text, ...files });

const lifeOf = ({ expiresAt = 0 }: Credential) => expiresAt - Date.now();

describe('the metadata server', () => {
  test("gives the machine's token, with its end, and is not asked through the proxy", async (t) => {
    const { ask } = await open(t);
    const credential = await ask();
    const { token = '' } = { token: cloud.accounts.given[0] };
    assert.equal(revealCredential(credential), `oauth2accesstoken:${token}`);
    assert.ok(Math.abs(lifeOf(credential) - 3_599_000) < 60_000, `its life is ${lifeOf(credential)}`);
    const left = (credential.expiresAt ?? 0) - (credential.refreshAt ?? 0);
    assert.equal(left, 4 * 60_000);
    assert.deepEqual(cloud.metadata.asked, ['/computeMetadata/v1/instance/service-accounts/default/token']);
    assert.deepEqual([world.requests.length, world.unknownNames.length], [0, 0]);
  });

  test('a token near its end is refreshed at the half of what is left', async (t) => {
    cloud.accounts.tokenLife = 360;
    const { refreshAt = 0, expiresAt = 0 } = await (await open(t)).ask();
    const left = expiresAt - refreshAt;
    assert.ok(left > 170_000 && left < 190_000, `${left} ms are left`);
  });

  test('keeps nothing: after each call it is asked again', async (t) => {
    const { ask } = await open(t);
    const first = await ask();
    assert.equal(
      revealCredential(await ask()),
      revealCredential(first),
      'it has the same until near its end',
    );
    cloud.metadata.forgetToken();
    assert.notEqual(revealCredential(await ask(first)), revealCredential(first));
    assert.equal(cloud.metadata.asked.length, 3);
  });

  test('one service account of several', async (t) => {
    const { ask } = await open(t, { serviceAccount: 'vm@acme.iam.gserviceaccount.com' });
    await ask();
    const [path = ''] = cloud.metadata.asked;
    assert.ok(path.includes('/vm@acme.iam.gserviceaccount.com/token'), path);
    const other = await open(t, { serviceAccount: 'none@acme.iam.gserviceaccount.com' });
    assert.match(await other.fails(), /answers 404: this machine has no service account none@acme\./);
  });

  const faults: Readonly<Record<MetadataFault, RegExp>> = {
    fails: /the metadata server 127\.0\.0\.1:\d+ answers 500/,
    'is not Google':
      /is not Google's metadata server; not on Google Cloud\? set keyFile, or for public images/,
    'is cut': /no answer from 127\.0\.0\.1:\d+.*not on Google Cloud\?/,
    hangs: /no answer from 127\.0\.0\.1:\d+.*not on Google Cloud\?/,
    'says nonsense': /gives no token/,
    'gives no life': /gives a token without a life/,
  };
  for (const [fault, expected] of Object.entries(faults)) {
    test(`that ${fault}`, async (t) => {
      cloud.metadata.fault = fault as MetadataFault;
      const { fails, ask } = await open(t, { timeout: fault === 'hangs' ? '1s' : '30s' });
      const reason = await fails();
      assert.match(reason, expected);
      assert.doesNotMatch(reason, /ya29|half-a-tok|somebody-elses/);
      cloud.metadata.fault = undefined;
      await ask();
    });
  }

  test('that has no service account', async (t) => {
    cloud.metadata.serviceAccount = undefined;
    const reason = await (await open(t)).fails();
    assert.match(reason, /answers 404: this machine has no service account; attach one, or set keyFile/);
  });

  test('that is not there', async (t) => {
    await cloud.metadata.close();
    const reason = await (await open(t)).fails();
    assert.match(reason, /no answer from 127\.0\.0\.1:\d+.*ECONNREFUSED|no answer.*not on Google Cloud\?/);
    assert.match(reason, /credentials: \{ type: anonymous \}/);
  });

  test('a variable that is no host', async (t) => {
    const { fails } = await open(t);
    process.env.GCE_METADATA_HOST = 'not a host';
    assert.match(await fails(), /GCE_METADATA_HOST is not a host/);
  });
});

describe("a registry that is not Google's", () => {
  const elsewhere = { registry: parseRegistryHost('registry.example.com'), name: known.name };
  const kinds: Readonly<Record<string, (t: TestContext, more: Record<string, unknown>) => Promise<Opened>>> =
    {
      'of the metadata server': (t, more) => open(t, more),
      'of a key file': (t, more) => withKey(t, cloud.robot.keyFile, more),
      'that is the key': (t, more) => withKey(t, cloud.robot.keyFile, { present: 'json-key', ...more }),
    };
  for (const [kind, make] of Object.entries(kinds)) {
    test(`is shown no token ${kind}, and nobody is asked for one; where it is named it is`, async (t) => {
      const { source } = await make(t, {});
      for (const registry of [
        'registry.example.com',
        'gcr.io.example.com',
        'gcr.io:8443',
        '127.0.0.1:5000',
      ]) {
        const target = { ...elsewhere, registry: parseRegistryHost(registry) };
        const reason = describeError(await rejectsWith(() => source.credentialFor(target, o), 'UNAVAILABLE'));
        assert.match(
          reason,
          /is neither gcr\.io nor \*-docker\.pkg\.dev: no token is sent there.*registryHosts/,
        );
      }
      assert.deepEqual([world.requests, cloud.metadata.asked], [[], []]);
      const named = await make(t, { registryHosts: ['Registry.example.com'] });
      assert.equal((await named.source.credentialFor(elsewhere, o))?.kind, 'basic');
    });
  }
});

describe('a key file', () => {
  const kinds: Readonly<Record<string, () => readonly [text: string, account: string]>> = {
    'of a service account': () => [cloud.robot.keyFile, cloud.robot.email],
    'of a user': () => [cloud.userFile, 'alice@acme.example'],
    'of federation': () => [cloud.federationFile(), 'principal://acme/subject/workload'],
    'of federation, with impersonation': () => [
      cloud.federationFile({ impersonate: true }),
      cloud.target.email,
    ],
    'of a service account that impersonates': () => [
      cloud.impersonationFile(cloud.robot.keyFile),
      cloud.target.email,
    ],
    'of a user who impersonates': () => [cloud.impersonationFile(cloud.userFile), cloud.target.email],
  };
  for (const [kind, make] of Object.entries(kinds)) {
    test(`${kind} gives a token, a new one each time, through proxy and ca`, async (t) => {
      const [text, account] = make();
      const { ask, source } = await withKey(t, text, {}, { 'subject-token': cloud.subjectToken });
      const first = await ask();
      assert.equal(first.username, 'oauth2accesstoken');
      assert.equal(cloud.accounts.accountOf(first.password.reveal()), account);
      assert.ok(Math.abs(lifeOf(first) - 3_599_000) < 60_000, `its life is ${lifeOf(first)}`);
      assert.notEqual(revealCredential(await ask(first)), revealCredential(first));
      assert.equal(source.keyFor?.(known), 'gcr.io');
      assert.deepEqual([cloud.metadata.asked, world.unknownNames], [[], []]);
    });
  }

  test('a service account names itself and asks for one scope, signed with its key', async (t) => {
    await (await withKey(t, cloud.robot.keyFile)).ask();
    const form = new URLSearchParams(world.requestsTo('oauth2.googleapis.com')[0]?.body);
    const [, payload = ''] = (form.get('assertion') ?? '').split('.');
    const { iss, scope } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    assert.deepEqual([iss, scope], [cloud.robot.email, 'https://www.googleapis.com/auth/cloud-platform']);
  });

  test('of the variable, where none is configured; what is configured goes before it', async (t) => {
    const { write } = await open(t);
    process.env.GOOGLE_APPLICATION_CREDENTIALS = write('env.json', cloud.robot.keyFile);
    t.after(() => delete process.env.GOOGLE_APPLICATION_CREDENTIALS);
    const account = async (opened: Opened) =>
      cloud.accounts.accountOf((await opened.ask()).password.reveal());
    const fromVariable = await open(t);
    assert.equal(await account(fromVariable), cloud.robot.email);
    assert.equal(await account(await withKey(t, cloud.target.keyFile)), cloud.target.email);
    const ofMachine = await open(t, { serviceAccount: 'default' });
    assert.equal(await account(ofMachine), 'vm@acme.iam.gserviceaccount.com');
    write('env.json', cloud.target.keyFile);
    assert.equal(await account(fromVariable), cloud.target.email, 'it is read again');
  });

  test('that was rotated is used from the next call on; a broken one changes nothing', async (t) => {
    const { ask, write, log } = await withKey(t, cloud.robot.keyFile);
    await ask();
    const next = cloud.accounts.createServiceAccount('robot');
    write('key.json', next.keyFile);
    await ask();
    write('key.json', '{"private_key": hunter2');
    await ask();
    assert.deepEqual(
      log.at('error').map(({ fields }) => fields.id),
      ['gcr'],
    );
    assert.ok(!log.text.includes('hunter2'), 'the file is quoted in the log');
  });

  test('may be shown itself', async (t) => {
    const text = cloud.robot.keyFile.trim();
    const plain = await (await withKey(t, text, { present: 'json-key' })).ask();
    assert.equal(revealCredential(plain), `_json_key:${text}`);
    const encoded = await (await withKey(t, text, { present: 'json-key-base64' })).ask();
    assert.equal(revealCredential(encoded), `_json_key_base64:${Buffer.from(text).toString('base64')}`);
    assert.deepEqual([plain.expiresAt, world.requests.length], [undefined, 0]);
  });
});

describe('where the token comes from that is exchanged', () => {
  const jsonFormat = { type: 'json', subject_token_field_name: 'access_token' };

  test('a file, read anew each time', async (t) => {
    const text = cloud.federationFile({ credential_source: { file: 'subject-token', format: jsonFormat } });
    const content = JSON.stringify({ access_token: cloud.subjectToken });
    const { ask, write, fails } = await withKey(t, text, {}, { 'subject-token': content });
    await ask();
    write('subject-token', '{"access_token":"of-somebody-else"}');
    assert.match(await fails(), /sts\.googleapis\.com answers 400 invalid_grant: compare audience/);
    write('subject-token', cloud.subjectToken);
    const reason = await fails();
    assert.match(reason, /the credential_source of the key file \(file\) gives no JSON/);
    assert.ok(!reason.includes(cloud.subjectToken.slice(0, 12)), 'the token is quoted');
  });

  test('a file that is not there', async (t) => {
    const { fails } = await withKey(t, cloud.federationFile());
    assert.match(await fails(), /the credential_source of the key file \(file\) does not exist/);
  });

  test('a server of this machine, asked directly with the headers of the file', async (t) => {
    const seen: (string | undefined)[] = [];
    const server = await startLoopbackServer((request, response) => {
      seen.push(request.headers.metadata as string | undefined);
      response.end(JSON.stringify({ access_token: cloud.subjectToken }));
    });
    t.after(() => server.close());
    const source = { url: `${server.url}/token`, headers: { Metadata: 'true' }, format: jsonFormat };
    const { ask } = await withKey(t, cloud.federationFile({ credential_source: source }));
    await ask();
    assert.deepEqual(seen, ['true']);
  });

  test('a server of the internet, through proxy and ca', async (t) => {
    world.host('issuer.example.com', ({ record, text }) =>
      text(record.headers.authorization === 'Bearer of-the-job' ? 200 : 401, cloud.subjectToken),
    );
    const source = {
      url: 'https://issuer.example.com/token',
      headers: { Authorization: 'Bearer of-the-job' },
    };
    await (await withKey(t, cloud.federationFile({ credential_source: source }))).ask();
    const wrong = { ...source, headers: { Authorization: 'Bearer wrong' } };
    const { fails } = await withKey(t, cloud.federationFile({ credential_source: wrong }));
    assert.match(
      await fails(),
      /issuer\.example\.com answers 401: it is the credential_source of the key file/,
    );
  });

  test('AWS: its metadata server is asked directly, and a request is signed', async (t) => {
    const server = await startLoopbackServer((request, response) => {
      if (request.method === 'PUT') return void response.end('session');
      if (request.headers['x-aws-ec2-metadata-token'] !== 'session')
        return void response.writeHead(401).end();
      const answers: Readonly<Record<string, string>> = {
        '/az': 'eu-west-1b',
        '/role': 'instance-role',
        '/role/instance-role': JSON.stringify({
          ...{ AccessKeyId: 'AKIAGOOGLETEST', SecretAccessKey: 'the-secret-key-of-an-instance' },
          Token: 'session-token',
        }),
      };
      response.end(answers[request.url ?? '']);
    });
    t.after(() => server.close());
    const file = {
      audience: awsAudience,
      subject_token_type: 'urn:ietf:params:aws:token-type:aws4_request',
      credential_source: {
        ...{ environment_id: 'aws1', region_url: `${server.url}/az`, url: `${server.url}/role` },
        imdsv2_session_token_url: `${server.url}/session`,
        regional_cred_verification_url:
          'https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15',
      },
    };
    const credential = await (await withKey(t, cloud.federationFile(file))).ask();
    assert.equal(cloud.accounts.accountOf(credential.password.reveal()), 'aws:AKIAGOOGLETEST');
    process.env.AWS_ACCESS_KEY_ID = 'AKIAGOOGLETEST';
    process.env.AWS_SECRET_ACCESS_KEY = 'another';
    t.after(() => {
      delete process.env.AWS_ACCESS_KEY_ID;
      delete process.env.AWS_SECRET_ACCESS_KEY;
    });
    assert.match(
      await (await withKey(t, cloud.federationFile(file))).fails(),
      /sts\.googleapis\.com answers 400/,
    );
  });
});

describe('what Google refuses', () => {
  test('a key that was deleted', async (t) => {
    const { fails } = await withKey(t, cloud.robot.keyFile);
    cloud.accounts.createServiceAccount('robot');
    const reason = await fails();
    assert.match(
      reason,
      /oauth2\.googleapis\.com answers 400 invalid_grant: the key of robot@.* was deleted, or is another's$/,
    );
  });

  test('a user who signed out', async (t) => {
    const { fails } = await withKey(t, cloud.userFile);
    cloud.endpoint.users = [{ ...(cloud.endpoint.users[0] as never as object), refreshToken: 'x' } as never];
    assert.match(await fails(), /invalid_grant: sign in again: gcloud auth application-default login/);
  });

  test('an impersonation that is not granted', async (t) => {
    cloud.federation.impersonations = new Set();
    const federated = await withKey(
      t,
      cloud.federationFile({ impersonate: true }),
      {},
      { 'subject-token': cloud.subjectToken },
    );
    assert.match(
      await federated.fails(),
      /iamcredentials\.googleapis\.com answers 403 PERMISSION_DENIED: .*roles\/iam\.workloadIdentityUser/,
    );
    const robot = await withKey(t, cloud.impersonationFile(cloud.robot.keyFile));
    assert.match(await robot.fails(), /PERMISSION_DENIED: .*roles\/iam\.serviceAccountTokenCreator/);
  });

  test('an audience that is not of this pool', async (t) => {
    const text = cloud.federationFile({ audience: '//iam.googleapis.com/projects/9/wrong' });
    const { fails } = await withKey(t, text, {}, { 'subject-token': cloud.subjectToken });
    assert.match(await fails(), /sts\.googleapis\.com answers 400 invalid_target: compare audience/);
  });
});

describe('a token endpoint', () => {
  const rows: Readonly<Record<string, readonly [fault: GoogleCloud['endpoint']['fault'], expected: RegExp]>> =
    {
      'answers 500: it is asked once': [
        ({ text }) => text(500, 'oh'),
        /oauth2\.googleapis\.com answers 500$/,
      ],
      'answers 429: it is asked once': [({ json }) => json(429, { error: 'rate' }), /answers 429$/],
      'redirects: nobody follows': [
        ({ text }) => text(307, '', { location: 'https://evil.example.com/token' }),
        /answers 307/,
      ],
      'gives no JSON, which is not quoted': [({ text }) => text(200, 'ya29.secret'), /gives no JSON$/],
      'gives no token': [({ json }) => json(200, { expires_in: 3599 }), /there is no token in the answer/],
      'is cut': [({ response }) => void response.destroy(), /no answer from oauth2\.googleapis\.com/],
      hangs: [() => {}, /no answer from oauth2\.googleapis\.com/],
    };
  for (const [what, [fault, expected]] of Object.entries(rows)) {
    test(`that ${what}`, async (t) => {
      cloud.endpoint.fault = fault;
      const { fails } = await withKey(t, cloud.robot.keyFile, { timeout: '1s' });
      const reason = await fails();
      assert.match(reason, expected);
      assert.ok(!reason.includes('ya29'), 'a token is quoted');
      assert.deepEqual([world.requests.length, world.unknownNames], [1, []]);
    });
  }

  const words: Readonly<Record<string, RegExp>> = {
    'Invalid JWT: Token must be a short-lived token (60 minutes)':
      /invalid_grant: this machine's clock is wrong$/,
    'Invalid grant: account not found':
      /invalid_grant: there is no service account robot@.*: it was deleted$/,
    'Invalid JWT Signature.': /invalid_grant: the key of robot@.* was deleted, or is another's$/,
    'Something new':
      /invalid_grant: the key of .* was deleted or disabled, or this machine's clock is wrong$/,
  };
  for (const [error_description, expected] of Object.entries(words)) {
    test(`that says "${error_description}": what to do, and not its words`, async (t) => {
      cloud.endpoint.fault = ({ json }) => json(400, { error: 'invalid_grant', error_description });
      assert.match(await (await withKey(t, cloud.robot.keyFile)).fails(), expected);
    });
  }

  test('that repeats what it was sent, in any form, is not quoted', async (t) => {
    const { refresh_token: secret, client_secret: other } = JSON.parse(cloud.userFile);
    const forms = [
      ...[secret, `Bad refresh_token=${secret.slice(0, -2)}`, secret.slice(9, 22), other.split('').join(' ')],
      ...[Buffer.from(secret).toString('base64'), Buffer.from(other).toString('hex')],
    ];
    const { fails } = await withKey(t, cloud.userFile);
    for (const error_description of forms) {
      cloud.endpoint.fault = ({ json }) => json(400, { error: 'invalid_grant', error_description });
      assert.match(await fails(), /googleapis\.com answers 400 invalid_grant: sign in again: [a-z -]+$/);
      const message = `no ${error_description}`;
      cloud.endpoint.fault = ({ json }) => json(503, { error: { status: 'UNAVAILABLE', message } });
      assert.match(await fails(), /googleapis\.com answers 503 UNAVAILABLE$/);
    }
    cloud.endpoint.fault = ({ json }) => json(503, { error: 'hunter' });
    assert.match(await fails(), /googleapis\.com answers 503$/);
  });

  test('whose token no header can hold: it is not quoted', async (t) => {
    world.host('sts.googleapis.com', ({ json }) => json(200, { access_token: 'ya29.half\nya29.rest' }));
    const text = cloud.federationFile({ impersonate: true });
    const { fails } = await withKey(t, text, {}, { 'subject-token': cloud.subjectToken });
    const reason = await fails();
    assert.match(reason, /the credential_source of the key file \(file\)|there is no token/);
    assert.doesNotMatch(reason, /ya29/);
  });

  test('that is not there', async (t) => {
    world.remove('oauth2.googleapis.com');
    assert.match(
      await (await withKey(t, cloud.robot.keyFile)).fails(),
      /no answer from oauth2\.googleapis\.com/,
    );
  });

  test('whose authority is not trusted gets nothing', async (t) => {
    const { write } = await open(t);
    const other = await startWorld();
    t.after(() => other.close());
    const ca = write('other.pem', other.authority);
    const { fails } = await withKey(
      t,
      cloud.federationFile(),
      { ca },
      { 'subject-token': cloud.subjectToken },
    );
    assert.match(await fails(), /no answer from sts\.googleapis\.com: .*certificate/);
    assert.deepEqual(world.requests, []);
  });

  test('an aborted call rejects with its reason while it waits', async (t) => {
    cloud.endpoint.fault = () => leaving.abort(reason);
    const leaving = new AbortController();
    const reason = new Error('gone');
    const { source } = await withKey(t, cloud.robot.keyFile);
    await assert.rejects(source.credentialFor(known, { signal: leaving.signal }), reason);
  });
});

describe('at the start', () => {
  const federation = (more: object) => () => cloud.federationFile(more as Record<string, unknown>);
  const token_url = (url: string) => federation({ token_url: url });
  const source = (credential_source: object) => federation({ credential_source });
  const key = (more: object) => () => JSON.stringify({ ...JSON.parse(cloud.robot.keyFile), ...more });
  const notKnown = (where: string, key: string) => new RegExp(`${where}${key} is too much$`);
  const rows: Record<string, readonly [text: () => string, expected: RegExp]> = {
    'no JSON': [() => '{"private_key": hunter2', /it is not JSON$/],
    'no object': [() => '[]', /not a credential file of Google Cloud/],
    'another type': [() => '{"type":"gdch_service_account"}', /its type is none of service_account, /],
    'a key without an e-mail address': [key({ client_email: undefined }), /client_email is missing or wrong/],
    'a private key that is none': [
      key({ private_key: 'hunter2' }),
      /its private_key is not a private key in PEM/,
    ],
    'another universe': [
      key({ universe_domain: 'evil.example.com' }),
      /universe_domain is not googleapis\.com/,
    ],
    'a token_url elsewhere': [
      token_url('https://evil.example.com/v1/token'),
      /token_url is not an https URL of sts/,
    ],
    'a token_url without TLS': [
      token_url('http://sts.googleapis.com/v1/token'),
      /token_url is not an https URL/,
    ],
    'a token_url with a name around': [token_url('https://sts.googleapis.com.evil.com/'), /token_url is not/],
    'a token_url with a port': [token_url('https://sts.googleapis.com:8443/v1/token'), /token_url is not/],
    'a token_url with a user': [
      token_url('https://sts.googleapis.com@evil.example.com/'),
      /token_url is not/,
    ],
    'an impersonation elsewhere': [
      federation({ service_account_impersonation_url: 'https://evil.example.com/v1/x' }),
      /service_account_impersonation_url is not an https URL of iamcredentials/,
    ],
    'an impersonation of another method': [
      federation({
        service_account_impersonation_url:
          'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:signBlob',
      }),
      /does not end in NAME:generateAccessToken/,
    ],
    'no credential_source': [federation({ credential_source: undefined }), /credential_source is missing/],
    'an empty credential_source': [source({}), /neither file nor url, or both/],
    'a url without TLS': [
      source({ url: 'http://issuer.example.com/' }),
      /url is neither https nor of this machine/,
    ],
    'a program': [
      source({ executable: { command: '/bin/true', timeout_millis: 5000 } }),
      /is a program \(executable\), which is not run: .* name that as file or url/,
    ],
    'a certificate': [source({ certificate: {} }), /a certificate, which is not supported/],
    'AWS elsewhere': [
      source({ environment_id: 'aws1', url: 'http://evil.example.com/' }),
      /credential_source\.url is not of the metadata server/,
    ],
    'AWS that signs something else': [
      source({
        environment_id: 'aws1',
        regional_cred_verification_url: 'https://sts.{region}.amazonaws.com?Action=X',
      }),
      /regional_cred_verification_url is not GetCallerIdentity/,
    ],
    'JSON without the name of a field': [
      source({ file: '/x', format: { type: 'json' } }),
      /format names no subject_token_field_name/,
    ],
    'a token_url that is a bucket': [
      token_url('https://sts.storage.googleapis.com/v1/token'),
      /token_url is not an https URL of sts/,
    ],
    'an impersonation that is a bucket': [
      federation({
        service_account_impersonation_url:
          'https://iamcredentials.storage.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken',
      }),
      /service_account_impersonation_url is not an https URL of iamcredentials/,
    ],
  };
  // The library takes each of its keys in camel case, too: one that nobody looked at would say where tokens go.
  for (const key of [
    ...['tokenUrl', 'universeDomain', 'serviceAccountImpersonationUrl', 'clientId', 'clientSecret'],
    ...['cloud_resource_manager_url', 'cloudResourceManagerUrl', 'subjectTokenSupplier', 'credentialSource'],
    ...['aws_security_credentials_supplier', 'transporter', 'endpoint', 'scopes', 'credentials'],
  ]) {
    rows[`the key ${key}`] = [federation({ [key]: 'https://evil.example.com/' }), notKnown(' ', key)];
  }
  for (const key of [
    'regionUrl',
    'imdsv2SessionTokenUrl',
    'environmentId',
    'regionalCredVerificationUrl',
    'URL',
  ]) {
    const more = { file: '/x', [key]: 'http://evil.example.com/' };
    rows[`the key ${key} of credential_source`] = [source(more), notKnown('credential_source.', key)];
  }
  for (const [what, [text, expected]] of Object.entries(rows)) {
    test(`${what} is said in one line that quotes no secret`, async (t) => {
      await assert.rejects(withKey(t, text()), (error) => {
        assert.ok(error instanceof Error, 'no Error');
        assert.match(error.message, expected);
        assert.match(error.message, /^cannot read .*key\.json: [^\n]+$/);
        assert.doesNotMatch(error.message, /hunter2|PRIVATE/);
        return true;
      });
    });
  }

  for (const url of [
    'https://sts.googleapis.com/v1/token',
    'https://sts.europe-west1.rep.googleapis.com/v1/token',
    'https://sts.europe-west12.googleapis.com/v1/token',
    'https://sts.us.rep.googleapis.com/v1/token',
    'https://europe-west1-sts.googleapis.com/v1/token',
    'https://us-east1.sts.googleapis.com/v1/token',
    'https://sts-prod.p.googleapis.com/v1/token',
  ]) {
    test(`the token_url ${url} is Google's`, async (t) => {
      await withKey(t, cloud.federationFile({ token_url: url }));
    });
  }

  test('a file that is not there, or is not a key where the key is shown', async (t) => {
    await assert.rejects(open(t, { keyFile: 'none.json' }), /none\.json.*ENOENT/);
    await assert.rejects(
      withKey(t, cloud.userFile, { present: 'json-key' }),
      /needs the key of a service account; the file is of type authorized_user/,
    );
    await assert.rejects(open(t, { present: 'json-key' }), /present: json-key needs a keyFile/);
  });

  test('nothing is asked of anybody', async (t) => {
    await withKey(t, cloud.robot.keyFile);
    await open(t);
    assert.deepEqual([world.requests, cloud.metadata.asked], [[], []]);
  });

  for (const wrong of [
    { keyfile: 'x' },
    { serviceAccount: '../../identity' },
    { present: 'password' },
    { keyFile: 'key.json', serviceAccount: 'default' },
  ]) {
    test(`refuses ${JSON.stringify(wrong)}`, () =>
      assert.equal(driver.config.safeParse(wrong).success, false));
  }
});

const without = ['it has none for a repository it does not know'];

describeCredentialSourceConformance(
  'gcp, metadata server',
  async (t) => ({
    source: (await open(t)).source,
    known,
    rotate: () => cloud.metadata.forgetToken(),
    break: () => cloud.metadata.close(),
  }),
  without,
);

describeCredentialSourceConformance(
  'gcp, json-key',
  async (t) => {
    const { source, write } = await withKey(t, cloud.robot.keyFile, { present: 'json-key' });
    return {
      source,
      known,
      expected: `_json_key:${cloud.robot.keyFile.trim()}`,
      rotate: () => void write('key.json', cloud.accounts.createServiceAccount('robot').keyFile),
    };
  },
  [...without, 'where it cannot be had now it is UNAVAILABLE, never undefined'],
);

// Each call gets a token of its own, and the program shares one: those who ask at once do not get the same from here.
describeCredentialSourceConformance(
  'gcp, key file',
  async (t) => ({
    source: (await withKey(t, cloud.robot.keyFile)).source,
    known,
    break: () => world.remove('oauth2.googleapis.com'),
  }),
  [
    ...without,
    'asked many times at once it gives the same',
    'a rejected credential does not come again from a cache',
  ],
);
