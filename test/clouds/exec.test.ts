import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertError } from '../harness/index.js';
import { openFrontHouse } from './harness/front-house.js';
import { hostsThatSaw, secretsIn } from './harness/front-secrets.js';
import { startHarbor } from './harness/harbor.js';

const row = {
  name: 'a registry with a helper',
  url: 'harbor.example.com',
  username: 'robot$acme+ci',
  start: startHarbor,
};

/** Both say what the file `secret` holds, note each run, and fail where there is a file `broken`. */
const common = `
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
const input = readFileSync(0, 'utf8');
appendFileSync('runs', input.trim() + '\\n');
const [username, password] = [${JSON.stringify(row.username)}, readFileSync('secret', 'utf8')];
if (existsSync('broken')) {
  console.log('cannot use ' + password);
  console.error('cannot use ' + password);
  process.exit(1);
}
`;
const dockerHelper = `${common}
if (process.argv[2] !== 'get' || input !== 'harbor.example.com') process.exit(2);
console.log(JSON.stringify({ ServerURL: input, Username: username, Secret: password }));
`;
const kubeletProvider = `${common}
const { apiVersion, kind, image } = JSON.parse(input);
if (kind !== 'CredentialProviderRequest' || !image.startsWith('harbor.example.com/')) process.exit(2);
const auth = { '*.example.com': { username, password } };
const times = { cacheKeyType: 'Registry', cacheDuration: '6h0m0s' };
console.log(JSON.stringify({ apiVersion, kind: 'CredentialProviderResponse', ...times, auth }));
`;

const ask = (image: string) =>
  JSON.stringify({
    ...{ apiVersion: 'credentialprovider.kubelet.k8s.io/v1', kind: 'CredentialProviderRequest' },
    image: `harbor.example.com/${image}`,
  });

/** What each may be asked: kubelet's for the registry as the proxy starts, and for an image that comes before the answer. */
const protocols: readonly (readonly [string, string, readonly string[]])[] = [
  ['docker-credential-helper', dockerHelper, ['harbor.example.com']],
  ['kubelet', kubeletProvider, [ask('library/hello-world'), ask('acme/app')]],
];

for (const [protocol, program, questions] of protocols) {
  test(`a helper that is asked as ${protocol} has it`, async (t) => {
    const house = await openFrontHouse(t, row);
    if (house === undefined) return;
    const credentials = `{ type: exec, protocol: ${protocol}, command: ["${process.execPath}", helper.mjs] }`;
    const open = (scope: typeof t) => house.open(scope, { credentials, files: { 'helper.mjs': program } });
    const manifest = { headers: { accept: house.image.root.mediaType } };

    await t.test('one run serves many clients, and shows what it gave to the token host only', async (t) => {
      const { proxy, registry, send, password, answered } = await open(t);
      const all = await Promise.all(Array.from({ length: 20 }, () => send('/v2/app/manifests/1', manifest)));
      assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200]));
      for (const { digest } of house.image.blobs) {
        assert.equal((await send(`/v2/app/blobs/${digest}`)).status, 200);
      }
      const runs = readFileSync(join(proxy.directory, 'runs'), 'utf8').trim().split('\n');
      assert.deepEqual(
        runs.filter((one, i) => runs.indexOf(one) !== i || !questions.includes(one)),
        [],
      );
      assert.deepEqual(hostsThatSaw(house.world, password, row.username), [registry.tokenHost]);
      const written = `${proxy.log()}\n${await proxy.metrics()}\n${answered()}`;
      assert.deepEqual(secretsIn(written, [{ secret: password, username: row.username }]), []);
    });

    await t.test('it is asked again where what it gave is refused, and no client notices', async (t) => {
      const { send, rotate } = await open(t);
      assert.equal((await send('/v2/app/manifests/1', manifest)).status, 200);
      rotate();
      assert.equal((await send('/v2/app/manifests/1', manifest)).status, 200);
    });

    await t.test('where it fails the client gets 503, and the log says which program it was', async (t) => {
      const { proxy, send, password, answered } = await open(t);
      writeFileSync(join(proxy.directory, 'broken'), '');
      assertError(await send('/v2/app/manifests/1', manifest), 503, 'UNAVAILABLE');
      await proxy.logLine((line) =>
        JSON.stringify(line).includes(`the program ${process.execPath}: it failed with exit code 1`),
      );
      assert.ok(existsSync(join(proxy.directory, 'runs')), 'it was not asked');
      assert.deepEqual(secretsIn(`${proxy.log()}\n${answered()}`, [{ secret: password }]), []);
    });
  });
}
