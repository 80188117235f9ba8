import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tinyImage } from '../../src/testing/index.js';
import { type Clouds, passwordCloud, startClouds } from '../e2e/harness/clouds.js';
import { acr, ecr, ecrPublic, google } from '../e2e/harness/clouds-by-identity.js';
import { ecrRole, startAcrApplications, startGoogleKeys, together } from '../e2e/harness/clouds-by-key.js';
import { runProxyCommandIn } from '../e2e/harness/proxy.js';
import { requirePrograms } from '../e2e/harness/require-programs.js';
import { openWorkspace, type Workspace } from '../e2e/harness/workspace.js';
import { type Front, passwords, pushImage, send, startFront } from '../harness/index.js';
import { startDockerHub } from './harness/docker-hub.js';
import { type EchoPlace, type EchoStatus, startEcho } from './harness/echo.js';
import { secretsIn } from './harness/front-secrets.js';
import type { WorldRequest } from './harness/world.js';

// A server may repeat what it is shown, in a body, in a header, for a developer to read. Whatever it says, nobody else gets
// to see it: no client, no log, no metric, no audit line, no table of `check --connect`, and no other host.

const hubStorage = 'production.cloudflare.docker.com';
const image = tinyImage('of many clouds');
const [layer] = image.blobs;

const clouds = [
  google,
  ...together(['google-key', 'google-key-itself', 'google-federation'], startGoogleKeys),
  ecr,
  ecrRole,
  ecrPublic,
  acr,
  ...together(['acr-secret', 'acr-federated'], startAcrApplications),
  passwordCloud('hub', 'docker.io', 'acme-ci', startDockerHub),
];

const path = (prefix: string) => (request: WorldRequest) => request.path.startsWith(prefix);
const isRegistry = (request: WorldRequest) =>
  request.path.startsWith('/v2/') && !request.path.startsWith('/v2/token');

interface Row extends EchoPlace {
  readonly cloud: string;
  readonly what: string;
  /** It is shown a signature, and nothing secret. */
  readonly signed?: true;
}

/** Who repeats it, on whose way. */
const rows: readonly Row[] = [
  {
    cloud: 'google',
    what: 'token endpoint',
    host: 'europe-west1-docker.pkg.dev',
    isMeant: path('/v2/token'),
  },
  { cloud: 'google', what: 'registry', host: 'europe-west1-docker.pkg.dev', isMeant: isRegistry },
  { cloud: 'google-key', what: 'OAuth', host: 'oauth2.googleapis.com' },
  { cloud: 'google-key-itself', what: 'token endpoint', host: 'eu.gcr.io', isMeant: path('/v2/token') },
  { cloud: 'google-federation', what: 'STS', host: 'sts.googleapis.com' },
  { cloud: 'google-federation', what: 'IAM', host: 'iamcredentials.googleapis.com' },
  { cloud: 'ecr', what: 'API', host: 'api.ecr.eu-west-1.amazonaws.com' },
  {
    cloud: 'ecr',
    what: 'registry',
    host: '123456789012.dkr.ecr.eu-west-1.amazonaws.com',
    isMeant: isRegistry,
  },
  { cloud: 'ecr-role', what: 'STS', host: 'sts.us-west-2.amazonaws.com', signed: true },
  { cloud: 'ecr-role', what: 'API', host: 'api.ecr.us-west-2.amazonaws.com' },
  { cloud: 'ecr-public', what: 'API', host: 'api.ecr-public.us-east-1.amazonaws.com', signed: true },
  { cloud: 'ecr-public', what: 'token endpoint', host: 'public.ecr.aws', isMeant: path('/token') },
  { cloud: 'ecr-public', what: 'registry', host: 'public.ecr.aws', isMeant: isRegistry },
  { cloud: 'acr', what: 'exchange', host: 'contoso.azurecr.io', isMeant: path('/oauth2/exchange') },
  { cloud: 'acr', what: 'token endpoint', host: 'contoso.azurecr.io', isMeant: path('/oauth2/token') },
  { cloud: 'acr', what: 'registry', host: 'contoso.azurecr.io', isMeant: isRegistry },
  { cloud: 'acr-secret', what: 'Entra ID', host: 'login.microsoftonline.com' },
  { cloud: 'acr-federated', what: 'Entra ID', host: 'login.microsoftonline.com' },
  { cloud: 'hub', what: 'token endpoint', host: 'auth.docker.io' },
  { cloud: 'hub', what: 'registry', host: 'registry-1.docker.io', isMeant: isRegistry },
];

const ofRegistries: readonly EchoStatus[] = [400, 401, 403, 404, 405, 500, 'cut'];
/** An answer that should have a token in it, too. */
const ofOthers: readonly EchoStatus[] = [200, 400, 401, 500, 'cut'];

interface House {
  readonly workspace: Workspace;
  readonly clouds: Clouds;
}

async function openHouse(t: TestContext): Promise<House> {
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const started = await startClouds(workspace, clouds);
  for (const { name } of clouds) {
    const place = `acme/${name}/app`;
    started.cloud(name).addRepository?.(place);
    const port = Number(started.storage.host.split(':')[1]);
    const answer = await pushImage((path, options) => send(port, path, options), place, '1', image);
    assert.equal(answer.status, 201, answer.text);
  }
  surround(t, started.env);
  return { workspace, clouds: started };
}

/** This process has these variables, and no other ones of clouds. */
function surround(t: TestContext, env: NodeJS.ProcessEnv): void {
  const isOfCloud = (name: string) => /^(?:AWS|AZURE|GCE|GOOGLE|IDENTITY)_/.test(name);
  const before = Object.entries(process.env).filter(([name]) => isOfCloud(name));
  const clear = () => {
    for (const name of Object.keys(process.env)) if (isOfCloud(name)) delete process.env[name];
  };
  clear();
  Object.assign(process.env, env);
  t.after(() => {
    clear();
    Object.assign(process.env, Object.fromEntries(before));
  });
}

/** What this process writes past the log from now on, as libraries do. */
function listen(t: TestContext): () => string {
  const written: string[] = [];
  const { stderr } = process;
  const write = stderr.write.bind(stderr) as (...args: unknown[]) => boolean;
  stderr.write = (...args: unknown[]) => {
    written.push(String(args[0]));
    return write(...args);
  };
  t.after(() => {
    stderr.write = write;
  });
  return () => written.join('');
}

/** A proxy before one cloud, which knows nothing yet. */
function openFront(t: TestContext, { clouds }: House, cloud: string, more: object = {}): Promise<Front> {
  const settings = {
    upstreams: { one: { ...clouds.upstreams[cloud], ...more } },
    routes: [{ prefix: '', upstream: 'one', rewrite: `acme/${cloud}/` }],
    audit: { file: 'audit.jsonl' },
    catalog: ['one'],
  };
  // JSON is YAML, and a setting begins its line.
  return startFront(
    t,
    Object.entries(settings)
      .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
      .join('\n'),
  );
}

/** Everything a client can ask. @returns all that came back */
async function everything(front: Front): Promise<string> {
  const accept = { accept: image.root.mediaType };
  const type = { 'content-type': image.root.mediaType };
  const requests: readonly [string, Parameters<Front['send']>[1]][] = [
    ['/v2/app/manifests/1', { headers: accept }],
    ['/v2/app/manifests/1', { method: 'HEAD', headers: accept }],
    [`/v2/app/blobs/${layer?.digest}`, {}],
    [`/v2/app/blobs/${layer?.digest}`, { method: 'HEAD' }],
    ['/v2/app/tags/list', {}],
    [`/v2/app/referrers/${image.root.digest}`, {}],
    ['/v2/app/blobs/uploads/', { method: 'POST' }],
    ['/v2/app/manifests/2', { method: 'PUT', headers: type, body: image.root.bytes }],
    ['/v2/app/manifests/2', { method: 'DELETE' }],
    ['/v2/_catalog', {}],
  ];
  const answers: string[] = [];
  for (const [path, options] of requests) {
    const { status, rawHeaders, text } = await front.sendAs('alice', path, options);
    answers.push(`${options?.method ?? 'GET'} ${path} ${status}`, rawHeaders.join('\n'), text);
  }
  return answers.join('\n');
}

test('no secret is shown to anybody it is not for', async (t) => {
  if (!requirePrograms(t)) return;
  const house = await openHouse(t);
  const { world } = house.clouds;
  const stderr = listen(t);
  const proxySecrets = Object.values(passwords).map((secret) => ({ secret }));

  /** Where one was told. */
  const told = async (front: Front, answers: string) => {
    const known = [...house.clouds.secrets(), ...proxySecrets];
    // A signed URL of one blob is for whoever may pull it.
    const notForClients = known.filter((one) => !('hosts' in one && one.hosts.includes(hubStorage)));
    const audit = readFileSync(join(front.directory, 'audit.jsonl'), 'utf8');
    const written = { log: front.log(), metrics: await front.metrics(), audit, stderr: stderr() };
    assert.ok(written.log.length * written.metrics.length * audit.length > 0, 'nothing was written');
    return [
      ...secretsIn(answers, notForClients).map((secret) => `an answer: ${secret.slice(0, 8)}…`),
      ...Object.entries(written).flatMap(([place, text]) =>
        secretsIn(text, known).map((secret) => `${place}: ${secret.slice(0, 8)}…`),
      ),
    ];
  };

  for (const { cloud, what, signed, ...place } of rows) {
    await t.test(`${cloud}: its ${what} repeats what it is shown`, async (t) => {
      for (const status of what === 'registry' ? ofRegistries : ofOthers) {
        await t.test(`${status}`, async (t) => {
          house.clouds.cloud(cloud).revoke();
          const stop = startEcho(world, place, status);
          t.after(stop);
          const front = await openFront(t, house, cloud);
          const answers = await everything(front);
          const said = stop();
          assert.ok(said.length > 0, 'it was never asked');
          const repeated = secretsIn(said.join('\n'), house.clouds.secrets());
          assert.equal(repeated.length > 0, status !== 'cut' && signed !== true, 'what it repeated');
          assert.deepEqual(await told(front, answers), []);
        });
      }
    });
  }

  for (const { name } of clouds) {
    for (const blobs of ['stream', 'redirect']) {
      await t.test(`${name}, blobs: ${blobs}: nothing is wrong`, async (t) => {
        const front = await openFront(t, house, name, { blobs });
        const answers = await everything(front);
        assert.match(answers, new RegExp(`^GET /v2/app/blobs/.* ${blobs === 'stream' ? 200 : 307}$`, 'm'));
        assert.deepEqual(await told(front, answers), []);
      });
    }
  }

  for (const status of [200, 401, 500] as const) {
    await t.test(`check --connect, where all repeat what they are shown: ${status}`, async () => {
      const { workspace, clouds: started } = house;
      const { upstreams, routes } = started;
      const configuration = {
        ...{ externalUrl: 'http://127.0.0.1:5050', upstreams, routes, log: { level: 'debug' } },
        verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
        policy: [{ names: ['local:alice'], repositories: ['**'], actions: ['pull'] }],
      };
      workspace.file('proxy/users.htpasswd', '');
      const file = workspace.file('proxy/check.yaml', JSON.stringify(configuration));
      const echoes = rows.map((row) => startEcho(world, row, status));
      const env = workspace.environment(started.env);
      const { output, code } = await runProxyCommandIn(env, 'check', '--config', file, '--connect');
      const asked = echoes.map((stop) => stop());
      assert.ok(
        asked.filter((answers) => answers.length > 0).length > clouds.length / 2,
        `${asked} requests: ${output}`,
      );
      assert.notEqual(code, 0, output);
      for (const { name } of clouds) assert.ok(output.includes(name), `nothing about ${name}: ${output}`);
      assert.deepEqual(secretsIn(output, started.secrets()), []);
    });
  }

  await t.test('no secret was at another host', () => {
    assert.deepEqual(house.clouds.leaks(), []);
    assert.deepEqual(world.unknownNames, []);
  });
});
