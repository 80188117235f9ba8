import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { whereabouts } from '../../src/bin/credential-helper/whereabouts.js';
import { proofIn } from '../../src/protocol/identity-envelope.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { startAwsContainer } from '../clouds/harness/aws-container.js';
import { AwsIdentities, owner } from '../clouds/harness/aws-identities.js';
import { startGceMetadata } from '../clouds/harness/gce-metadata.js';
import { startGoogleIdentity } from '../clouds/harness/google-identity.js';
import { googleAccounts } from '../clouds/harness/google-token-endpoint-accounts.js';
import { startImds } from '../clouds/harness/imds.js';
import { startWorld } from '../clouds/harness/world.js';
import { Machine, notFound, repeated, type Told } from './asking.js';

// The helper without a configuration: it finds out where it runs, and shows what is good there.

const role = `arn:aws:sts::${owner}:assumed-role/node/i-0123456789abcdef0`;

async function google(t: TestContext) {
  const world = await startWorld();
  t.after(() => world.close());
  const identity = startGoogleIdentity(world);
  const metadata = await startGceMetadata(googleAccounts(), identity);
  t.after(() => metadata.close());
  return { metadata, identity, env: { GCE_METADATA_HOST: metadata.host } };
}

async function aws(t: TestContext) {
  const identities = new AwsIdentities();
  const imds = await startImds(identities, role, { region: 'eu-west-1' });
  t.after(() => imds.close());
  return { imds, identities, env: { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url } };
}

/** As much of Azure's metadata service as tells whose machine it is, and a document whose nonce is the one asked for. */
async function azure(t: TestContext) {
  const asked: string[] = [];
  /** Statuses of its next answers. */
  const failures: number[] = [];
  const server = await startLoopbackServer((request, response) => {
    const { method, url = '', headers } = request;
    const { pathname, searchParams } = new URL(url, 'http://metadata');
    asked.push(pathname);
    const answer = (status: number, type: string, text: string) =>
      response.writeHead(status, { 'content-type': type }).end(text);
    const failure = failures.shift();
    if (failure !== undefined) return answer(failure, 'application/json', '{"error":"Failed"}');
    if (headers.metadata !== 'true' || headers['x-forwarded-for'] !== undefined || method !== 'GET') {
      return answer(
        400,
        'application/json',
        '{"error":"Bad request. Required metadata header not specified"}',
      );
    }
    if (searchParams.get('api-version') === null)
      return answer(400, 'application/json', '{"error":"Bad request"}');
    if (pathname === '/metadata/instance/compute/vmId' && searchParams.get('format') === 'text') {
      return answer(200, 'text/plain', '02aab8a4-74ef-476e-8182-f6d2ba4166a6');
    }
    if (pathname !== '/metadata/attested/document')
      return answer(404, 'application/json', '{"error":"Not found"}');
    const signature = Buffer.from(`signed ${searchParams.get('nonce')}`).toString('base64');
    return answer(200, 'application/json', JSON.stringify({ encoding: 'pkcs7', signature }));
  });
  t.after(() => server.close());
  return { asked, failures, env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: server.url } };
}

interface Answer {
  readonly username: string;
  readonly proof: string;
}

function answerIn({ code, stdout, stderr }: Told): Answer {
  assert.deepEqual([code, stderr], [0, ''], stdout);
  const { Username: username, Secret } = JSON.parse(stdout) as { Username: string; Secret: string };
  const envelope = proofIn(Secret);
  assert.ok(envelope !== undefined && 'proof' in envelope, 'the password is no envelope');
  return { username, proof: envelope.proof };
}

const claimsIn = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;

describe('without a configuration', () => {
  test("on Google Cloud: the machine's token, for the registry that is asked", async (t) => {
    const { env, metadata } = await google(t);
    const machine = new Machine(t, env);
    const { username, proof } = answerIn(await machine.ask('get', 'https://Docker.example.com:443/v2/'));
    assert.equal(username, '_gcp');
    assert.equal(claimsIn(proof).aud, 'docker.example.com');
    assert.ok(metadata.asked.includes('/'), 'it was not asked who it is');
  });

  test('on AWS: a request signed with its role, for the registry that is asked; by IMDSv2 alone', async (t) => {
    const { env, imds } = await aws(t);
    const machine = new Machine(t, env);
    const { username, proof } = answerIn(await machine.askProgram('get', 'docker.example.com:5000'));
    assert.equal(username, '_sts');
    assert.match(proof, /^docker\.example\.com:5000\?Action=GetCallerIdentity&/);
    assert.match(proof, /%2Feu-west-1%2Fsts%2Faws4_request/);
    assert.deepEqual(imds.askedByVersion1, []);
  });

  test('on Azure: its attested document', async (t) => {
    const { env } = await azure(t);
    const { username, proof } = answerIn(await new Machine(t, env).ask('get', 'docker.example.com'));
    assert.equal(username, '_azure');
    assert.match(Buffer.from(proof, 'base64url').toString(), /^signed [0-9a-f]+$/);
  });

  for (const [statuses, times, refused] of [
    [[429], 2],
    [[410], 2],
    [[500], 2],
    [[503, 503], 2, 'it answers 503'],
    [[410, 403], 2, 'it answers 403'],
    [[403], 1, 'it answers 403'],
  ] as const) {
    const told = refused ?? 'it is asked once more';
    test(`on Azure, where the metadata service answers ${statuses.join(', ')}: ${told}`, async (t) => {
      const { env, asked, failures } = await azure(t);
      failures.push(...statuses);
      const got = await new Machine(t, env).ask('get', 'docker.example.com');
      if (refused === undefined) assert.equal(answerIn(got).username, '_azure');
      else assert.ok(got.stdout.includes(`Azure (${refused}).`), got.stdout);
      assert.equal(asked.filter((path) => path.endsWith('/vmId')).length, times);
    });
  }

  test('in a pod of EKS, or a task of ECS: its own role, and no metadata server is asked', async (t) => {
    const { env, metadata } = await google(t);
    const container = await startAwsContainer(new AwsIdentities(), role);
    t.after(() => container.close());
    container.token = 'of-the-pod';
    const machine = new Machine(t, env);
    const given = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: container.url,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: machine.write('token', container.token),
      AWS_REGION: 'eu-west-1',
    };
    assert.equal(answerIn(await machine.ask('get', 'docker.example.com', given)).username, '_sts');
    assert.equal(container.given, 1);
    assert.deepEqual(metadata.asked, []);
  });

  test('where two clouds answer, it is always the same one', async (t) => {
    const machine = new Machine(t, {
      ...(await azure(t)).env,
      ...(await aws(t)).env,
      ...(await google(t)).env,
    });
    assert.equal(answerIn(await machine.ask('get', 'docker.example.com')).username, '_gcp');
  });

  test('on AWS without a role: what to do about it, and never the plain document', async (t) => {
    const { env, imds } = await aws(t);
    imds.withoutRole = true;
    const { code, stdout, stderr } = await new Machine(t, env).ask('get', 'docker.example.com');
    assert.deepEqual([code, stderr], [1, repeated(stdout)]);
    assert.match(
      stdout,
      /^on AWS: docker\.example\.com: aws-sts: no AWS credentials; .*no role.*; attach a role to /,
    );
    assert.match(stdout, /credentials: \{ type: aws-identity \}/);
    assert.equal(stdout.trimEnd().split('\n').length, 1, stdout);
    assert.deepEqual(
      imds.asked.filter((path) => path.includes('instance-identity')),
      [],
    );
  });

  for (const [what, status] of [
    ['forgets sessions', /the instance metadata \(it answers 401\)/],
    ['hangs later', /the instance metadata \(no answer\)/],
  ] as const) {
    test(`on AWS, where the metadata server ${what}: nobody is told to attach a role`, async (t) => {
      const { env, imds } = await aws(t);
      imds.fault = what;
      const { code, stdout } = await new Machine(t, env).ask('get', 'docker.example.com');
      assert.equal(code, 1);
      assert.match(stdout, status);
      assert.doesNotMatch(stdout, /attach a role|aws-identity/);
    });
  }

  test('on Google Cloud without a service account: what to do about it', async (t) => {
    const { env, metadata } = await google(t);
    metadata.serviceAccount = undefined;
    const { code, stdout } = await new Machine(t, env).ask('get', 'docker.example.com');
    assert.equal(code, 1);
    assert.match(
      stdout,
      /^on Google Cloud: docker\.example\.com: gcp-identity: .* has no service account; attach one/,
    );
  });

  test('nowhere: what was tried, in one line', async (t) => {
    const { code, stdout, stderr } = await new Machine(t).ask('get', 'docker.example.com');
    assert.deepEqual([code, stderr], [1, repeated(stdout)]);
    const tried =
      'Kubernetes (no token), Google Cloud (no answer), AWS (no answer), Azure (no answer). ' +
      'Write a configuration (DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG)';
    assert.ok(
      stdout.includes(`docker.example.com: this machine has no identity that is known here; tried ${tried}`),
      stdout,
    );
    assert.equal(stdout.trimEnd().split('\n').length, 1, stdout);
  });

  test('where another server has those addresses, or none may be asked', async (t) => {
    const portal = await startLoopbackServer((request, response) => {
      const isForm = request.method === 'PUT';
      response.writeHead(isForm ? 405 : 200, { 'content-type': 'text/html' }).end('<html>Log in</html>');
    });
    t.after(() => portal.close());
    const env = {
      GCE_METADATA_HOST: new URL(portal.url).host,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: portal.url,
      AZURE_POD_IDENTITY_AUTHORITY_HOST: portal.url,
    };
    const machine = new Machine(t, env);
    const first = await machine.ask('get', 'docker.example.com');
    assert.match(
      first.stdout,
      /Google Cloud \(another server answers\), AWS \(it answers 405 [^)]*\), Azure \(another server answers\)\./,
    );
    const wrong = {
      GCE_METADATA_HOST: portal.url,
      AWS_EC2_METADATA_DISABLED: 'true',
      AZURE_POD_IDENTITY_AUTHORITY_HOST: 'metadata',
    };
    assert.match(
      (await machine.ask('get', 'docker.example.com', wrong)).stdout,
      /\(GCE_METADATA_HOST is not a host\), AWS \(AWS_EC2_METADATA_DISABLED\), Azure \(AZURE_\w+ is not an http URL\)\./,
    );
  });

  test('a metadata server that never answers is not waited for long', async (t) => {
    const silent = await startLoopbackServer(() => {});
    t.after(() => silent.close());
    const env = { ...(await azure(t)).env, AWS_EC2_METADATA_SERVICE_ENDPOINT: silent.url };
    assert.equal(answerIn(await new Machine(t, env).ask('get', 'docker.example.com')).username, '_azure');
  });

  test('known public registries are none of ours: nobody is asked', async (t) => {
    const { env, metadata } = await google(t);
    const machine = new Machine(t, env);
    for (const server of [
      'https://index.docker.io/v1/',
      'docker.io',
      'ghcr.io',
      'quay.io',
      'registry.gitlab.com',
      'mcr.microsoft.com',
      'registry.k8s.io',
      'gcr.io',
      'europe-west1-docker.pkg.dev',
      '123456789012.dkr.ecr.eu-west-1.amazonaws.com',
      'public.ecr.aws',
      'contoso.azurecr.io',
    ]) {
      assert.deepEqual(await machine.ask('get', server), notFound, server);
    }
    assert.deepEqual(metadata.asked, []);
  });

  test('no proxy is asked who this machine is', async (t) => {
    const asked: string[] = [];
    const proxy = await startLoopbackServer((request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    t.after(() => proxy.close());
    const names = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];
    const env = Object.fromEntries(names.map((name) => [name, proxy.url]));
    const machine = new Machine(t, { ...env, NODE_USE_ENV_PROXY: '1', ...(await google(t)).env });
    // Node.js takes these when it starts.
    assert.equal(answerIn(await machine.askProgram('get', 'docker.example.com')).username, '_gcp');
    assert.deepEqual(asked, []);
  });

  test('debug lines tell where it is, and no secret', async (t) => {
    const { env, identities } = await aws(t);
    const machine = new Machine(t, { ...env, DOCKER_CREDENTIAL_REGISTRY_PROXY_DEBUG: 'yes' });
    const { stderr, stdout } = await machine.ask('get', 'docker.example.com');
    assert.match(stderr, /debug: this is AWS \{"registry":"docker\.example\.com","type":"aws-sts"\}/);
    const signature = /X-Amz-Signature=([0-9a-f]{64})/.exec(stdout)?.[1] ?? assert.fail('no signature');
    for (const secret of [...identities.secrets, signature]) {
      assert.ok(!stderr.includes(secret), 'a secret is on standard error');
    }
  });
});

describe('AWS keys of whoever works on a machine', () => {
  const role = /[?&]X-Amz-Credential=ASIA/;
  /** @returns a machine with a role, and with keys of a user where a developer has them */
  async function worked(t: TestContext, where: 'files' | 'environment' | 'a profile') {
    const { env, imds, identities } = await aws(t);
    const { accessKeyId, secretAccessKey } = identities.user('dev');
    const machine = new Machine(t, env);
    const keys = `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    const section = where === 'a profile' ? 'work' : 'default';
    if (where !== 'environment') machine.write('.aws/credentials', `[${section}]\n${keys}`);
    const variables = {
      files: {},
      environment: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
      'a profile': { AWS_PROFILE: section },
    }[where];
    const ask = () => machine.ask('get', 'docker.example.com', variables);
    return { machine, imds, accessKeyId, ask };
  }

  for (const where of ['files', 'environment', 'a profile'] as const) {
    test(`in ${where}: not shown unasked, but the role; shown where a configuration says so`, async (t) => {
      const { machine, ask, accessKeyId } = await worked(t, where);
      assert.match(answerIn(await ask()).proof, role);
      const configured = (credentials: object) =>
        machine.configure([
          { match: 'docker.example.com', credentials: { type: 'aws-sts', ...credentials } },
        ]);
      configured({ identity: 'machine' });
      assert.match(answerIn(await ask()).proof, role);
      for (const settings of [{ identity: 'any' }, {}]) {
        configured(settings);
        assert.ok(answerIn(await ask()).proof.includes(`X-Amz-Credential=${accessKeyId}%2F`), 'other keys');
      }
    });

    test(`in ${where}, on an instance without a role: not shown either, and it is said what to write`, async (t) => {
      const { ask, imds, accessKeyId } = await worked(t, where);
      imds.withoutRole = true;
      const { code, stdout } = await ask();
      assert.equal(code, 1);
      assert.match(
        stdout,
        /no AWS credentials; tried the instance metadata \(it answers 404: no role\?\): give it a role \([^)]*\); attach a role/,
      );
      assert.match(stdout, /`\{ type: aws-sts \}` your own AWS keys/);
      assert.ok(!stdout.includes(accessKeyId), stdout);
    });
  }
});

describe('where it runs', () => {
  const signal = new AbortController().signal;
  const ask = (environment: NodeJS.ProcessEnv, hasToken: boolean) =>
    whereabouts(environment, async () => hasToken, { signal });

  for (const [what, environment, hasToken, type] of [
    [
      'a token for this purpose comes first',
      { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1' },
      true,
      'kubernetes-token',
    ],
    ['ECS', { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/x' }, false, 'aws-sts'],
    [
      'EKS with IRSA',
      { AWS_WEB_IDENTITY_TOKEN_FILE: '/x', AWS_ROLE_ARN: 'arn:aws:iam::1:role/x' },
      false,
      'aws-sts',
    ],
  ] as const) {
    test(`${what}: ${type}`, async () => {
      const place = await ask(environment, hasToken);
      assert.equal('type' in place && place.type, type);
    });
  }
});
