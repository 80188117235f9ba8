import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { test } from 'node:test';
import { ConnectError } from '@connectrpc/connect';
import type { AskedPull } from './harness/cri-client.js';
import { imageWithUser, putImage } from './harness/cri-images.js';
import { formsOf, refuseSecrets } from './harness/front.js';
import { runImageService } from './harness/image-service.js';
import { asAlice, startHouse, type TestNode } from './harness/image-service-house.js';
import { startMachines } from './harness/machines.js';
import { proxyAddress } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Private images with no imagePullSecrets: containerd and Docker Engine pull them from our own proxy, which is shown what
// our image service has for them.

const pod = { namespace: 'ci', name: 'builder-0', uid: '7c1a' };

/** Of machines in clouds, and of a pod: what a source is told where it does not find out by itself. */
const identities: Readonly<Record<string, object>> = {
  gcp: { type: 'gcp-identity' },
  aws: { type: 'aws-sts' },
  ec2: { type: 'aws-identity' },
  azure: { type: 'azure-identity' },
};

/** A docker credential helper whose first answer is out of date. */
function writeForgetfulHelper(workspace: Workspace, name: string, password: string): string {
  const count = workspace.path(name);
  const script = [
    '#!/bin/sh',
    'cat > /dev/null',
    `if [ -e '${count}' ]; then secret='${password}'; else secret=outdated; fi`,
    `: > '${count}'`,
    'printf \'{"Username":"bob","Secret":"%s"}\' "$secret"',
  ];
  const file = workspace.file(`helpers/${name}`, `${script.join('\n')}\n`);
  chmodSync(file, 0o700);
  return file;
}

test('private images', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr', 'docker', 'dockerd')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const address = await proxyAddress();
  const { host } = address;
  const machines = await startMachines(workspace, host);
  const ours = machines.all.filter(({ isOurs }) => isOurs);
  const strange = machines.all.find(({ isOurs, kind }) => !isOurs && kind === 'cluster');
  const known = ours.map(({ kind, credentials }) => ({ kind, credentials: credentials ?? identities[kind] }));
  const settings = {
    verifiers: [
      { id: 'local', type: 'htpasswd', file: 'users.htpasswd' },
      ...machines.verifiers,
      { id: 'anyone', type: 'anonymous' },
    ],
    policy: [
      { names: machines.verifiers.map(({ id }) => `${id}:*`), repositories: ['open/**'], actions: ['pull'] },
      { names: ['local:alice', 'local:bob'], repositories: ['open/**'], actions: ['pull'] },
      { names: ['anyone:*'], repositories: ['open/public/**'], actions: ['pull'] },
    ],
  };
  const house = await startHouse(workspace, {
    front: { address, settings },
    service: { env: Object.assign({}, ...ours.map(({ variables }) => variables)) },
    configure: ({ passwords }) => ({
      audit: {},
      log: { level: 'debug' },
      images: [
        ...known.map(({ kind, credentials }) => ({ match: `${host}/open/${kind}/**`, credentials })),
        { match: `${host}/open/static/**`, credentials: asAlice },
        { match: `${host}/open/strange/**`, credentials: strange?.credentials },
        { match: `${host}/open/narrow/**`, namespaces: ['ci'], credentials: asAlice },
        { match: `${host}/open/narrow/**`, annotations: { team: 'a-*' }, credentials: asAlice },
        ...['cri', 'docker'].map((kind) => ({
          match: `${host}/open/outdated/${kind}`,
          credentials: {
            type: 'exec',
            protocol: 'docker-credential-helper',
            command: [writeForgetfulHelper(workspace, `forgetful-${kind}`, passwords.bob)],
          },
        })),
        ...['public/wrong', 'wrong'].map((place) => ({
          match: `${host}/open/${place}/**`,
          credentials: { ...asAlice, username: 'bob' },
        })),
      ],
    }),
  });
  const { front, nodes, put } = house;
  const told: string[] = [];

  /** @returns what kubelet is told, which a pod event shows */
  const refused = async ({ client }: TestNode, image: string, asked: AskedPull = { pod }) => {
    const error = await client.pull(image, asked).then(
      () => assert.fail(`${image} was pulled`),
      (reason: unknown) => ConnectError.from(reason),
    );
    assert.doesNotMatch(error.rawMessage, /[\r\n]/, 'one line');
    told.push(error.rawMessage);
    return error.rawMessage;
  };

  for (const node of nodes) {
    const { kind: runtime, client, service } = node;

    for (const kind of ['static', ...known.map((identity) => identity.kind)]) {
      await t.test(`${runtime}: an image that a credential of ${kind} opens`, async () => {
        const image = await put(`${kind}/${runtime}`);
        assert.equal(await client.pull(image.tagged, { pod }), image.id);
        assert.equal(await client.pull(image.pinned, { pod }), image.id);
        assert.equal((await client.status(image.tagged))?.id, image.id);
      });
    }

    await t.test(`${runtime}: no rule, no credential, and the error says so`, async () => {
      const image = await put(`closed/${runtime}`);
      assert.match(await refused(node, image.tagged), /rule/);
    });

    await t.test(
      `${runtime}: a refused credential is named by its rule and source, and by no more`,
      async () => {
        for (const [place, type] of [
          ['strange', 'kubernetes-token'],
          ['wrong', 'static'],
        ] as const) {
          const image = await put(`${place}/${runtime}`);
          const said = await refused(node, image.tagged);
          assert.ok(said.includes(host) && said.includes(type), said);
          assert.ok(said.includes(`${host}/open/${place}/**`), said);
        }
      },
    );

    await t.test(`${runtime}: what kubelet brings is never replaced`, async () => {
      const image = await put(`static/own-${runtime}`); // a rule would open it
      await refused(node, image.tagged, { auth: { username: 'alice', password: 'wrong' } });
      await refused(node, image.tagged, { auth: {} });
      const other = await put(`closed/own-${runtime}`);
      const { bob } = front.passwords;
      assert.equal(await client.pull(other.tagged, { auth: { username: 'bob', password: bob } }), other.id);
      const auth = Buffer.from(`bob:${bob}`).toString('base64');
      assert.equal(await client.pull(other.tagged, { auth: { auth } }), other.id);
    });

    await t.test(`${runtime}: rules for namespaces and annotations count for those alone`, async () => {
      const image = await put(`narrow/${runtime}`);
      await refused(node, image.tagged, {});
      await refused(node, image.tagged, { pod: { ...pod, namespace: 'prod' } });
      await refused(node, image.tagged, { annotations: { team: 'b' } });
      assert.equal(await client.pull(image.tagged, { pod }), image.id);
      assert.equal(await client.pull(image.tagged, { annotations: { team: 'a-1' } }), image.id);
    });

    await t.test(`${runtime}: what the registry refuses is asked for anew`, async () => {
      const image = await put(`outdated/${runtime}`);
      assert.equal(await client.pull(image.tagged, { pod }), image.id);
    });

    await t.test(`${runtime}: a wrong credential keeps nobody from a public image`, async () => {
      const image = await put(`public/wrong/${runtime}`);
      assert.equal(await client.pull(image.tagged, { pod }), image.id);
    });

    await t.test(`${runtime}: an open registry needs no rule`, async () => {
      const name = `elsewhere/${runtime}`;
      await putImage({ url: front.open.url }, name, ['1'], imageWithUser(name));
      assert.match(await client.pull(`${front.open.host}/${name}:1`, { pod }), /^sha256:/);
    });

    await t.test(`${runtime}: status and the audit log tell each pull`, async () => {
      const image = `${host}/open/static/${runtime}:1`;
      const { running, recent } = await service.status();
      assert.deepEqual(running, []);
      const shown = recent.find((pull) => pull.image === image);
      assert.deepEqual([shown?.state, shown?.source, shown?.pod], ['ok', 'static', pod]);
      const failed = recent.find((pull) => pull.image === `${host}/open/strange/${runtime}:1`);
      assert.match(String(failed?.error), /kubernetes-token/);
      const file = workspace.path(`${runtime}-node`, 'configuration.yaml');
      const table = await runImageService(workspace, 'status', '--config', file);
      assert.ok(table.stdout.includes(image) && table.stdout.includes('builder-0'), table.output);
      told.push(table.output, JSON.stringify(recent));
      const audited = service.log().filter(({ event }) => event === 'image-pull');
      assert.ok(audited.length >= recent.length, `${audited.length} audit lines of ${recent.length} pulls`);
      const line = audited.find((one) => one.image === image);
      assert.ok(JSON.stringify(line).includes('builder-0'), JSON.stringify(line));
    });
  }

  await t.test(
    'nothing of what was shown is in a log, in what kubelet is told, or in what status shows',
    () => {
      const secrets = [...machines.secrets(), ...Object.entries(front.passwords).flatMap(formsOf)];
      assert.ok(secrets.length > 20, `${secrets.length} secrets`);
      refuseSecrets(told.join('\n'), [...secrets, 'outdated"']);
      for (const { service } of nodes) {
        refuseSecrets(service.output(), secrets);
        assert.doesNotMatch(service.output(), /drp-id1\.|X-Amz-Signature=/);
      }
      refuseSecrets(front.proxy.output(), secrets);
    },
  );
});
