import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type MemoryRegistry,
  type RegistryAuth,
  startMemoryRegistry,
  tinyImage,
} from '../../src/testing/index.js';
import { type Answer, assertError, type Front, startFront, until } from '../harness/index.js';

// Passwords of an upstream in a mounted Kubernetes Secret, which are changed while clients pull: no restart.

const image = tinyImage('rotated');
const layer = image.blobs.at(-1)?.digest ?? '';
const passwordOf = (round: number) => `password-of-round-${round}`;
const account = { username: 'proxy', password: passwordOf(0) };

const kinds: Readonly<Record<string, RegistryAuth>> = {
  'a registry that sees each password': { kind: 'basic', ...account },
  // Tokens that are said to end at once, so that the password is shown for each request; what was issued stays good.
  'a registry with tokens': { kind: 'token', ...account, lifetime: 300, statedLifetime: 1 },
};

/** A volume as kubelet writes it: files are links through `..data`, which is renamed over by one to a new directory. */
class SecretVolume {
  readonly #directory: string;
  #version = 0;

  constructor(directory: string, content: Readonly<Record<string, string>>) {
    this.#directory = directory;
    this.write(content);
    for (const name of Object.keys(content)) symlinkSync(join('..data', name), this.path(name));
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  write(content: Readonly<Record<string, string>>): void {
    const [before, now] = [`..version-${this.#version}`, `..version-${++this.#version}`];
    mkdirSync(this.path(now));
    for (const [name, text] of Object.entries(content))
      writeFileSync(join(this.path(now), name), `${text}\n`);
    symlinkSync(now, this.path('..data_tmp'));
    renameSync(this.path('..data_tmp'), this.path('..data'));
    rmSync(this.path(before), { recursive: true, force: true });
  }
}

interface House {
  readonly registry: MemoryRegistry;
  readonly volume: SecretVolume;
  readonly front: Front;
  pull(): Promise<readonly Answer[]>;
}

/** @param names the files of the volume, each with the password of its round: the first has that of now */
async function open(t: TestContext, auth: RegistryAuth, names: readonly string[]): Promise<House> {
  const registry = await startMemoryRegistry({ auth });
  t.after(() => registry.close());
  registry.putImage('app', '1', image);
  const directory = await mkdtemp(join(tmpdir(), 'secret-volume-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const content = Object.fromEntries(names.map((name, i) => [name, passwordOf(i)]));
  const volume = new SecretVolume(directory, content);
  const credentials = names.map((name) => {
    return `{ type: static, username: proxy, password: { file: "${volume.path(name)}" } }`;
  });
  const front = await startFront(
    t,
    `
upstreams:
  one: { url: "${registry.url}", credentials: [${credentials.join(', ')}] }
routes: [{ prefix: "", upstream: one }]
`,
    { watch: 50 },
  );
  const get = (path: string) => front.sendAs('alice', path);
  const pull = async () => [await get('/v2/app/manifests/1'), await get(`/v2/app/blobs/${layer}`)];
  return { registry, volume, front, pull };
}

/** The password that has been good until now is refused. */
function changePassword({ registry }: House, round: number): void {
  registry.setCredentials('proxy', passwordOf(round));
}

function assertNoSecret({ front }: House, rounds: number): void {
  for (let round = 0; round <= rounds; round++) {
    assert.ok(!front.log().includes(passwordOf(round)), `the password of round ${round} is in the log`);
  }
}

/** Pulls, several at a time, until it is stopped. */
class Pullers {
  readonly failed: string[] = [];
  pulls = 0;
  #stopped = false;
  readonly #all: Promise<unknown>;

  constructor(house: House, count: number) {
    this.#all = Promise.all(Array.from({ length: count }, () => this.#run(house)));
  }

  /** Waits until pulls that began after this was called have ended. */
  async more(): Promise<void> {
    const enough = this.pulls + 12;
    await until('more pulls', () => this.pulls >= enough || this.failed.length > 0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#all;
  }

  async #run(house: House): Promise<void> {
    while (!this.#stopped) {
      for (const { status, text } of await house.pull()) {
        if (status !== 200) this.failed.push(`${status} ${text}`);
      }
      this.pulls++;
    }
  }
}

for (const [kind, auth] of Object.entries(kinds)) {
  describe(`static credentials in a Secret volume, at ${kind}`, () => {
    test('one: what is written there is used next, without a restart', async (t) => {
      const house = await open(t, auth, ['password']);
      const statuses = async () => (await house.pull()).map(({ status }) => status);
      assert.deepEqual(await statuses(), [200, 200]);
      for (const round of [1, 2]) {
        changePassword(house, round);
        for (const answer of await house.pull()) assertError(answer, 503, 'UNAVAILABLE');
        house.volume.write({ password: passwordOf(round) });
        await until(`pulls with password ${round}`, async () =>
          (await statuses()).every((one) => one === 200),
        );
      }
      assertNoSecret(house, 2);
    });

    test('two: while the password is changed at the registry and then in the volume, no pull fails', async (t) => {
      const house = await open(t, auth, ['now', 'next']);
      const pullers = new Pullers(house, 4);
      const rounds = 4;
      for (let round = 1; round <= rounds; round++) {
        await pullers.more();
        changePassword(house, round);
        await pullers.more();
        house.volume.write({ now: passwordOf(round), next: passwordOf(round + 1) });
      }
      await pullers.more();
      await pullers.stop();
      assert.deepEqual(pullers.failed, []);
      const told = house.front
        .logLines()
        .filter(({ message }) => /^credential 1 of .* is refused/.test(`${message}`));
      assert.ok(told.length >= 1, 'nobody was told that a password is refused');
      assertNoSecret(house, rounds + 1);
    });
  });
}
