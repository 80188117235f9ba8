import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthority, type TestCertificate } from '../../src/testing/certificates.js';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  type Front,
  type FrontOptions,
  htpasswd,
  type LogLine,
  overwrite,
  passwords,
  settingsFor,
  startFront,
  takeOver,
  until,
} from '../harness/index.js';

// When a configuration is looked at anew, and what a bad one does: nothing but a line in the log and a metric.

const manifest = '/v2/team/app/manifests/1';

interface Started {
  readonly front: Front;
  readonly url: string;
  readonly settings: string;
}

/** Denies alice what the house allows her. */
const stricter = (url: string) => settingsFor(url, { policy: '[]' });

async function start(
  t: TestContext,
  options: FrontOptions,
  more: Readonly<Record<string, string>> = {},
  when: 'at once' | 'at rest' = 'at rest',
) {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const settings = settingsFor(registry.url, more);
  const front = await startFront(t, settings, options);
  if (when === 'at rest') await rest(options);
  return { front, url: registry.url, settings } satisfies Started;
}

/** Long enough for the watch to have nothing to do: what changes then is seen by its marks alone. */
async function rest({ watch = 0 }: FrontOptions): Promise<void> {
  await sleep(10 * watch);
}

const statusOf = async (front: Front) => (await front.sendAs('alice', manifest)).status;
const reloads = (front: Front) => front.logLines().filter(({ event }) => event === 'reload');
const applied = (front: Front) =>
  reloads(front).filter(({ message }) => message === 'configuration reloaded');
const failed = (front: Front) => reloads(front).filter(({ level }) => level === 'error');

describe('a change is seen without a signal', () => {
  const file = (front: Front, name = 'proxy.yaml') => join(front.directory, name);
  const textOf = (front: Front) => readFileSync(file(front), 'utf8');

  const changes: readonly (readonly [string, (started: Started) => void | Promise<void>])[] = [
    ['written in place', ({ front, url }) => front.configure(stricter(url))],
    ['replaced by renaming', ({ front, url }) => front.configure(stricter(url), 'renamed')],
    [
      'replaced by an older one',
      ({ front, url }) => {
        front.configure(stricter(url), 'renamed');
        utimesSync(file(front), 1, 1);
      },
    ],
    [
      'deleted, and there again after a while',
      async ({ front, url }) => {
        rmSync(file(front));
        await until('it was missed', () => failed(front).length === 1);
        assert.match(String(failed(front)[0]?.problems), /proxy\.yaml.*cannot be read/);
        assert.equal(await statusOf(front), 200);
        front.configure(stricter(url));
      },
    ],
  ];
  for (const [how, change] of changes) {
    test(how, async (t) => {
      const started = await start(t, { watch: 20 });
      const { front } = started;
      assert.equal(await statusOf(front), 200);
      await change(started);
      await until('it is taken', () => applied(front).length === 1);
      assert.equal(applied(front)[0]?.because, 'file');
      assert.ok(String(applied(front)[0]?.changed).startsWith('policy'), 'the policy');
      assert.equal(await statusOf(front), 403);
    });
  }

  test('a file that is being written is left until nothing changes any more', async (t) => {
    const { front, url } = await start(t, { watch: 200 });
    // Each state of it is bad, but for the last.
    for (let i = 0; i < 40; i++) {
      writeFileSync(file(front), `policy: [${'x'.repeat(i)}`);
      await sleep(20);
    }
    front.configure(stricter(url));
    await until('it is taken', () => applied(front).length === 1);
    assert.deepEqual(failed(front), []);
  });

  test('a file that is touched, or written as it was, is nothing to speak of', async (t) => {
    const { front, url } = await start(t, { watch: 20 });
    const text = textOf(front);
    utimesSync(file(front), new Date(), new Date());
    await sleep(200);
    overwrite(file(front), text, 'renamed');
    await sleep(200);
    front.configure(stricter(url));
    await until('it is taken', () => applied(front).length > 0);
    assert.deepEqual(reloads(front), applied(front));
    assert.equal(applied(front).length, 1);
  });

  test('what changes between the start and the first look', async (t) => {
    const { front, url } = await start(t, { watch: 20 }, {}, 'at once');
    front.configure(stricter(url));
    await until('it is taken', () => applied(front).length === 1);
  });

  test('after a signal that came in the middle of writing', async (t) => {
    const { front, url } = await start(t, { watch: 20 });
    front.configure('policy: [');
    await front.reload();
    assert.equal(failed(front).length, 1);
    front.configure(stricter(url));
    await until('it is taken', () => applied(front).length === 1);
  });
});

test('a file that never rests does not keep the others from being read, and is told of', async (t) => {
  const { front, url } = await start(t, { watch: 20 });
  const users = join(front.directory, 'users.htpasswd');
  let stamp = 1_000_000;
  const restless = setInterval(() => utimesSync(users, ++stamp, stamp), 3);
  t.after(() => clearInterval(restless));
  front.configure(stricter(url));
  await until('it was taken over', () => applied(front).length > 0);
  assert.equal(await statusOf(front), 403);
  assert.ok(
    front
      .logLines()
      .some(({ level, message }) => level === 'warn' && /changes with every look/.test(String(message))),
    'nobody was told',
  );
});

describe('the swap of a Kubernetes volume is seen', () => {
  let certificates: readonly TestCertificate[];
  before(async () => {
    certificates = await Promise.all(['first', 'second'].map((name) => createAuthority({ name })));
  });

  /** A volume: `name` -> `..data/name`, `..data` -> a directory with a time in its name. */
  class Volume {
    readonly #path: string;
    #version = 0;

    constructor(path: string, files: Readonly<Record<string, string>>) {
      this.#path = path;
      mkdirSync(path);
      this.swap(files);
      for (const name of Object.keys(files)) symlinkSync(join('..data', name), join(path, name));
    }

    /** As kubelet does it: a new directory, a new link that is renamed over the old one, the old directory deleted. */
    swap(files: Readonly<Record<string, string>>): void {
      const earlier = `..2026_01_01_00_00_00.${this.#version++}`;
      const next = `..2026_01_01_00_00_00.${this.#version}`;
      mkdirSync(join(this.#path, next));
      for (const [name, text] of Object.entries(files)) writeFileSync(join(this.#path, next, name), text);
      symlinkSync(next, join(this.#path, '..data_tmp'));
      renameSync(join(this.#path, '..data_tmp'), join(this.#path, '..data'));
      rmSync(join(this.#path, earlier), { recursive: true, force: true });
    }
  }

  test('of users', async (t) => {
    const { front, url } = await start(t, { watch: 20 });
    const volume = new Volume(join(front.directory, 'volume'), { users: await htpasswd(passwords) });
    await takeOver(
      front,
      settingsFor(url, { verifiers: '[{ id: local, type: htpasswd, file: volume/users }]' }),
    );
    assert.equal(await statusOf(front), 200);
    await rest({ watch: 20 });
    volume.swap({ users: await htpasswd({ ...passwords, alice: 'another' }) });
    await until('it is taken', () => applied(front).length === 2);
    assert.deepEqual(applied(front)[1]?.changed, ['verifiers[0].file']);
    assert.equal(await statusOf(front), 401);
  });

  test('of a certificate', async (t) => {
    const volumeOf = (i: number) => ({
      'tls.crt': certificates[i]?.certificate ?? '',
      'tls.key': certificates[i]?.privateKey ?? '',
    });
    const tls = '{ certificate: volume/tls.crt, key: volume/tls.key }';
    const files = Object.fromEntries(
      Object.entries(volumeOf(0)).map(([name, text]) => [`volume/${name}`, text]),
    );
    const more = { tls, externalUrl: 'https://docker.test' };
    const { front } = await start(t, { watch: 20, files }, more);
    rmSync(join(front.directory, 'volume'), { recursive: true });
    const volume = new Volume(join(front.directory, 'volume'), volumeOf(0));
    await rest({ watch: 20 });
    volume.swap(volumeOf(1));
    await until('it is taken', () => applied(front).length === 1);
    assert.deepEqual(applied(front)[0]?.changed, ['tls.certificate', 'tls.key']);
  });

  test('of the configuration itself', async (t) => {
    const { front, url } = await start(t, { watch: 20 });
    const text = readFileSync(join(front.directory, 'proxy.yaml'), 'utf8');
    const volume = new Volume(join(front.directory, 'volume'), { 'proxy.yaml': text });
    rmSync(join(front.directory, 'proxy.yaml'));
    symlinkSync('volume/proxy.yaml', join(front.directory, 'proxy.yaml'));
    const changed = text.replace('routes:', 'trustedProxies: [192.0.2.1]\nroutes:');
    assert.ok(changed.includes(url), 'the house');
    await rest({ watch: 20 });
    volume.swap({ 'proxy.yaml': changed });
    await until('it is taken', () => applied(front).length === 1);
    assert.deepEqual(applied(front)[0]?.changed, ['trustedProxies']);
  });
});

describe('a bad configuration is reported, and the earlier one stays', () => {
  let pair: TestCertificate;
  let otherPair: TestCertificate;
  before(async () => {
    [pair, otherPair] = (await Promise.all([createAuthority(), createAuthority()])) as [
      TestCertificate,
      TestCertificate,
    ];
  });

  interface Fault {
    readonly what: string;
    readonly files?: () => Readonly<Record<string, string>>;
    readonly settings?: Readonly<Record<string, string>>;
    readonly spoil: (started: Started) => void;
    /** Without it the users are written as they were. */
    readonly repair?: (started: Started) => void;
    readonly problems: readonly RegExp[];
  }

  const configured = (settings: Readonly<Record<string, string>>) => ({
    spoil: ({ front, url }: Started) => front.configure(settingsFor(url, settings)),
    repair: ({ front, url }: Started) => front.configure(settingsFor(url)),
  });
  const written = (name: string, text: string) => (started: Started) =>
    overwrite(join(started.front.directory, name), text);

  const faults: readonly Fault[] = [
    { what: 'no YAML', ...configured({ policy: '[' }), problems: [/proxy\.yaml:\d+:\d+: /] },
    {
      what: 'two wrong settings',
      ...configured({ polcy: '[]', limits: '{ connections: none }' }),
      problems: [
        /proxy\.yaml:\d+:1: .*polcy/,
        /proxy\.yaml:\d+:\d+: limits\.connections: expected a whole number/,
      ],
    },
    {
      what: 'a route to nowhere',
      ...configured({ routes: '[{ prefix: "", upstream: none }]' }),
      problems: [/routes\[0\]\.upstream: /],
    },
    {
      what: 'a rule for a verifier that is none',
      ...configured({ policy: '[{ names: ["nobody:x"], repositories: ["**"], actions: [pull] }]' }),
      problems: [/policy\[0\]\.names\[0\]: /],
    },
    {
      what: 'a users file with a bad line',
      spoil: written('users.htpasswd', 'alice:secret\n'),
      problems: [/verifiers\[0\]\.file: .*users\.htpasswd: line 1: expected a bcrypt hash/],
    },
    {
      what: 'a users file that is gone',
      spoil: ({ front }) => rmSync(join(front.directory, 'users.htpasswd')),
      problems: [/proxy\.yaml:\d+:\d+: verifiers\[0\]\.file: users\.htpasswd does not exist/],
    },
    {
      what: 'a file that is not there yet',
      ...configured({ upstreams: '{ one: { url: "http://127.0.0.1:1", ca: ca.pem } }' }),
      repair: ({ front }) => overwrite(join(front.directory, 'ca.pem'), pair.certificate),
      problems: [/upstreams\.one\.ca: ca\.pem does not exist/],
    },
    {
      what: 'an authority that is none',
      ...configured({ upstreams: '{ one: { url: "http://127.0.0.1:1", ca: ca.pem } }' }),
      files: () => ({ 'ca.pem': 'nothing' }),
      repair: ({ front }) => overwrite(join(front.directory, 'ca.pem'), pair.certificate),
      problems: [/upstreams\.one\.ca: /],
    },
    {
      what: 'a key that is none',
      ...configured({ token: '{ keys: { files: [key.pem] } }' }),
      files: () => ({ 'key.pem': 'hunter2' }),
      repair: ({ front }) => overwrite(join(front.directory, 'key.pem'), pair.privateKey),
      problems: [/token\.keys\.files\[0\]: cannot use the token key key\.pem: /],
    },
    {
      what: 'a certificate without its key',
      settings: { tls: '{ certificate: tls.crt, key: tls.key }', externalUrl: 'https://docker.test' },
      files: () => ({ 'tls.crt': pair.certificate, 'tls.key': pair.privateKey }),
      spoil: (started) => written('tls.crt', otherPair.certificate)(started),
      repair: (started) => written('tls.key', otherPair.privateKey)(started),
      problems: [/proxy\.yaml:\d+:\d+: tls/],
    },
    {
      what: 'an audit log that cannot be opened',
      ...configured({ audit: '{ file: absent/audit.jsonl }' }),
      repair: ({ front }) => void mkdirSync(join(front.directory, 'absent')),
      problems: [/audit\.file: absent\/audit\.jsonl cannot be made: there is no directory /],
    },
  ];

  for (const { what, files, settings, spoil, repair, problems } of faults) {
    test(what, async (t) => {
      const started = await start(t, { watch: 20, ...(files && { files: files() }) }, settings);
      const { front } = started;
      const users = readFileSync(join(front.directory, 'users.htpasswd'), 'utf8');
      const parts = front.proxy.openParts;
      const isTls = settings?.tls !== undefined;
      spoil(started);
      await until('it is reported', () => failed(front).length > 0);
      const told = failed(front)[0]?.problems as readonly string[];
      assert.equal(told.length, problems.length, told.join('\n'));
      for (const [i, problem] of problems.entries()) assert.match(told[i] ?? '', problem);
      assert.doesNotMatch(front.log(), /hunter2|\n\s+at /);
      assert.equal(await front.metric('registry_proxy_configuration_reloads_total{result="failed"}'), 1);
      assert.equal(await front.metric('registry_proxy_configuration_last_reload_success'), 0);
      if (!isTls) assert.equal(await statusOf(front), 200, 'the earlier one stays');
      assert.equal(front.proxy.openParts, parts, 'nothing of it is left open');
      await stayQuiet(front);
      (repair ?? written('users.htpasswd', users))(started);
      await until('all is well', async () => {
        return (await front.metric('registry_proxy_configuration_last_reload_success')) === 1;
      });
      assert.equal(reloads(front).at(-1)?.level, 'info');
      assert.equal(failed(front).length, 1, 'a bad file is told once');
    });
  }

  /** Long enough for it to be tried again. */
  async function stayQuiet(front: Front): Promise<void> {
    const lines = (): readonly LogLine[] => reloads(front);
    const before = lines().length;
    await sleep(400);
    assert.equal(lines().length, before, JSON.stringify(lines()));
  }

  test('a bad one that becomes bad in another way is told again, and on each signal', async (t) => {
    const { front, url } = await start(t, { watch: 20 });
    front.configure(settingsFor(url, { limits: '[]' }));
    await until('it is told', () => failed(front).length === 1);
    front.configure(settingsFor(url, { trustedProxies: 'x' }));
    await until('it is told again', () => failed(front).length === 2);
    await front.reload();
    assert.equal(failed(front).length, 3);
  });

  test('drivers of a bad one are not left open, although some of them opened well', async (t) => {
    const { front, url } = await start(t, {});
    const parts = front.proxy.openParts;
    front.configure(
      settingsFor(url, {
        upstreams: `{ one: { url: "${url}" }, two: { url: "${url}" }, three: { url: "${url}" } }`,
        token: '{ keys: { files: [users.htpasswd] } }',
      }),
    );
    await front.reload();
    assert.equal(failed(front).length, 1);
    assert.equal(front.proxy.openParts, parts);
    assert.equal(await front.metric('registry_proxy_configurations_in_use'), 1);
  });
});
