import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import {
  type AwsHouse,
  ask,
  awsEnvironment,
  ownerOf,
  reasonOf,
  startAwsHouse,
  target,
} from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { startSso } from './harness/aws-sso.js';

// What answers at a metadata server's address may be anything; and where the environment points elsewhere, nothing
// secret crosses a network in clear.

const arn = `arn:aws:sts::${owner}:assumed-role/pull/x`;
const roles = '/latest/meta-data/iam/security-credentials/';

interface Server {
  readonly url: string;
  /** Methods, paths and tokens, in order. */
  readonly asked: string[];
}

async function start(t: TestContext, answer: RequestListener): Promise<Server> {
  const asked: string[] = [];
  const server = await startLoopbackServer((request, response) => {
    const { method, url, headers } = request;
    asked.push([method, url, headers['x-aws-ec2-metadata-token']].filter(Boolean).join(' '));
    answer(request, response);
  });
  t.after(() => server.close());
  return { url: server.url, asked };
}

/** Keys as both servers write them, from what the test changes. */
function document(house: AwsHouse, changed: object = {}): string {
  const keys = house.identities.session(arn);
  return JSON.stringify({
    Code: 'Success',
    AccessKeyId: keys.accessKeyId,
    SecretAccessKey: keys.secretAccessKey,
    Token: keys.sessionToken,
    Expiration: new Date(keys.expiresAt).toISOString(),
    ...changed,
  });
}

/** An instance's metadata with version 1 open as well, as most have it. */
function instance(
  house: AwsHouse,
  more: { token?: number; answer?: () => string | undefined } = {},
): RequestListener {
  return (request, response) => {
    if (request.method === 'PUT') return response.writeHead(more.token ?? 200).end('session-of-imds');
    if (request.url === roles) return response.end('role\n');
    const text = more.answer?.() ?? document(house);
    return response.end(text);
  };
}

const onInstance = (t: TestContext, house: AwsHouse, { url }: Server) =>
  awsEnvironment(t, house.directory, {
    AWS_EC2_METADATA_DISABLED: 'false',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
  });
const inContainer = (t: TestContext, house: AwsHouse, { url }: Server) =>
  awsEnvironment(t, house.directory, { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/keys` });

const past = () => ({ Expiration: new Date(Date.now() - 3_600_000).toISOString() });

describe('the instance metadata', () => {
  test('are asked by version 2', async (t) => {
    const house = await startAwsHouse(t);
    const server = await start(t, instance(house));
    onInstance(t, house, server);
    assert.equal(ownerOf(house, await ask(await house.open())), arn);
    assert.deepEqual(server.asked, [
      'PUT /latest/api/token',
      `GET ${roles} session-of-imds`,
      `GET ${roles}role session-of-imds`,
    ]);
  });

  for (const status of [400, 403, 404, 405, 302]) {
    test(`are not asked by version 1 where version 2 is answered ${status}`, async (t) => {
      const house = await startAwsHouse(t);
      const server = await start(t, instance(house, { token: status }));
      onInstance(t, house, server);
      const said = await reasonOf(house, ask(await house.open()));
      assert.match(
        said,
        new RegExp(`the instance metadata \\(it answers ${status} where IMDSv2 gives a token\\)`),
      );
      assert.deepEqual(server.asked, ['PUT /latest/api/token']);
    });
  }
});

const ends: Readonly<Record<string, readonly [changed: () => object | string, says: RegExp]>> = {
  'keys that ended an hour ago': [past, /its credentials have ended/],
  'an end that is none': [() => ({ Expiration: 'soon' }), /its answer is no credentials/],
  'a key with a line break': [() => ({ AccessKeyId: 'A\r\nx-evil: 1' }), /its answer is no credentials/],
  'no key': [() => ({ SecretAccessKey: undefined }), /its answer is no credentials/],
  'no JSON': [() => '<html>', /its answer is no credentials/],
};
for (const [name, [changed, says]] of Object.entries(ends)) {
  for (const [where, set] of [
    ['the instance metadata', onInstance],
    ['the container', inContainer],
  ] as const) {
    test(`${where} that give ${name} give nothing, and ECR is not asked`, async (t) => {
      const house = await startAwsHouse(t);
      const text = () => {
        const change = changed();
        return typeof change === 'string' ? change : document(house, change);
      };
      const server = await start(
        t,
        where === 'the container'
          ? (_request, response) => response.end(text())
          : instance(house, { answer: text }),
      );
      set(t, house, server);
      assert.match(await reasonOf(house, ask(await house.open())), says);
      assert.deepEqual(house.ecr.asked, []);
    });
  }
}

for (const [where, set] of [
  ['the instance metadata', onInstance],
  ['the container', inContainer],
] as const) {
  /** Answers for ever. */
  const endless = async (t: TestContext) => {
    let open = 0;
    const server = await start(t, (request, response) => {
      if (request.method === 'PUT') return response.end('session-of-imds');
      open++;
      const timer = setInterval(() => response.write(Buffer.alloc(256 * 1024, 0x41)), 5);
      response.on('close', () => {
        clearInterval(timer);
        open--;
      });
      return response.flushHeaders();
    });
    return { server, open: () => open };
  };

  test(`${where}: an answer without an end is cut`, async (t) => {
    const house = await startAwsHouse(t);
    const { server, open } = await endless(t);
    set(t, house, server);
    assert.match(await reasonOf(house, ask(await house.open())), /\(no answer\)/);
    await until(() => open() === 0);
  });

  test(`${where}: nothing outlives the call`, async (t) => {
    const house = await startAwsHouse(t);
    let [came, gone] = [false, false];
    const server = await start(t, (_request, response) => {
      came = true;
      response.on('close', () => {
        gone = true;
      });
    });
    set(t, house, server);
    const source = await house.open({ timeout: '1m' });
    const leaving = new AbortController();
    const asked = source.credentialFor(target, { signal: leaving.signal });
    await until(() => came);
    const reason = new Error('left');
    leaving.abort(reason);
    await assert.rejects(asked, reason);
    await until(() => gone);
  });
}

test('metadata servers are not asked through the proxy', async (t) => {
  const house = await startAwsHouse(t);
  const server = await start(t, instance(house));
  onInstance(t, house, server);
  await ask(await house.open());
  assert.deepEqual(
    house.world.requests.map(({ host }) => host),
    ['api.ecr.eu-west-1.amazonaws.com'],
  );
});

describe('over http is not asked', () => {
  const token = 'WEB-IDENTITY-JWT';
  const webIdentity = (house: AwsHouse) => ({
    AWS_ROLE_ARN: `arn:aws:iam::${owner}:role/pull`,
    AWS_WEB_IDENTITY_TOKEN_FILE: house.file('token', token),
  });
  const cases: Readonly<
    Record<
      string,
      readonly [env: (house: AwsHouse) => Record<string, string>, says: RegExp, settings?: object]
    >
  > = {
    'STS, with a web identity': [
      (house) => ({ ...webIdentity(house), AWS_ENDPOINT_URL_STS: 'http://sts.corp.example' }),
      /sts\.corp\.example is to be asked over http: AWS_ENDPOINT_URL and its like, .* must be https/,
    ],
    'any service': [
      (house) => ({ ...webIdentity(house), AWS_ENDPOINT_URL: 'http://10.0.0.1:4566' }),
      /10\.0\.0\.1:4566 is to be asked over http/,
    ],
    'ECR itself': [
      ({ identities }) => {
        const { accessKeyId, secretAccessKey } = identities.user('ci');
        return {
          AWS_ACCESS_KEY_ID: accessKeyId,
          AWS_SECRET_ACCESS_KEY: secretAccessKey,
          AWS_ENDPOINT_URL_ECR: 'http://ecr.corp.example',
        };
      },
      /ecr\.corp\.example is to be asked over http/,
    ],
    'a container’s endpoint': [
      () => ({ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://keys.corp.example/x' }),
      /its endpoint is not one: expected https, or http to 169\.254\.170\.2/,
    ],
    'a container’s endpoint, named by a path': [
      () => ({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '@keys.corp.example/x' }),
      /its endpoint is not one/,
    ],
    'an instance’s endpoint': [
      () => ({
        AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://imds.corp.example',
        AWS_EC2_METADATA_DISABLED: 'false',
      }),
      /its endpoint is not one: expected https, or http to 169\.254\.169\.254/,
    ],
  };
  for (const [name, [env, says]] of Object.entries(cases)) {
    test(name, async (t) => {
      const house = await startAwsHouse(t);
      house.identities.secrets.push(token);
      awsEnvironment(t, house.directory, env(house));
      assert.match(await reasonOf(house, ask(await house.open())), says);
      assert.deepEqual([house.world.requests.length, house.world.unknownNames], [0, []]);
    });
  }

  test('IAM Identity Center', async (t) => {
    const house = await startAwsHouse(t);
    awsEnvironment(t, house.directory, { AWS_ENDPOINT_URL_SSO: 'http://sso.corp.example' });
    startSso(t, house, 3_600_000);
    await reasonOf(house, ask(await house.open({ profile: 'sso' })));
    assert.deepEqual([house.world.requests.length, house.world.unknownNames], [0, []]);
  });

  test('but STS on this machine is', async (t) => {
    const house = await startAwsHouse(t);
    const server = await start(t, (_request, response) => response.writeHead(403).end());
    awsEnvironment(t, house.directory, { ...webIdentity(house), AWS_ENDPOINT_URL_STS: server.url });
    await reasonOf(house, ask(await house.open({ proxy: undefined })));
    assert.deepEqual(server.asked, ['POST /']);
  });
});

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !reached(); i++) await sleep(5);
  assert.ok(reached(), 'it did not come to that');
}
