import assert from 'node:assert/strict';
import { chmodSync, chownSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { refusalOf } from '../../src/bin/credential-helper/settings-file.js';
import { Machine, repeated } from './asking.js';

// The helper's own configuration: where it is, what is wrong with it, and whose it has to be.

function configured(t: TestContext): Machine {
  const machine = new Machine(t);
  machine.write('.docker/password', 'x');
  const password = { file: 'password' };
  machine.configure([
    { match: 'docker.example.com', credentials: { type: 'static', username: 'robot', password } },
  ]);
  return machine;
}

describe('the configuration', () => {
  const of = (machine: Machine, username: string, name?: string) => {
    machine.write('secret', 'x');
    const password = { file: join(machine.home, 'secret') };
    return machine.configure(
      [{ match: 'docker.example.com', credentials: { type: 'static', username, password } }],
      name,
    );
  };
  const userFor = async (machine: Machine, env: NodeJS.ProcessEnv) => {
    const { stdout } = await machine.ask('get', 'docker.example.com', env);
    return (JSON.parse(stdout) as { Username: string }).Username;
  };

  test("is the one that is named, else docker's directory's, else the user's", async (t) => {
    const machine = new Machine(t);
    of(machine, 'of-home');
    of(machine, 'of-docker', 'elsewhere/registry-proxy.yaml');
    const named = of(machine, 'of-variable', 'named.yaml');
    const DOCKER_CONFIG = join(machine.home, 'elsewhere');
    assert.equal(await userFor(machine, {}), 'of-home');
    assert.equal(await userFor(machine, { DOCKER_CONFIG }), 'of-docker');
    const DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG = named;
    assert.equal(
      await userFor(machine, { DOCKER_CONFIG, DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG }),
      'of-variable',
    );
  });

  test('that is named must be there', async (t) => {
    const machine = new Machine(t);
    of(machine, 'of-home');
    const DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG = join(machine.home, 'gone.yaml');
    const { code, stdout } = await machine.ask('get', 'docker.example.com', {
      DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG,
    });
    assert.equal(code, 2);
    assert.match(stdout, /gone\.yaml: cannot be read: ENOENT/);
  });

  test('that is wrong: all problems, each with its place, and no password', async (t) => {
    const machine = new Machine(t);
    const file = machine.write(
      '.docker/registry-proxy.yaml',
      [
        'registries:',
        '  - { match: "https://docker.example.com", credentials: { type: static, username: x, password: hunter2 } }',
        '  - { match: "*", credentials: { type: sttic } }',
        '  - { match: "*example.com", credentials: { type: 5 } }',
        '  - { match: a.example.com, credentials: {} }',
        '  - { match: "a.example.*", extra: 1 }',
        'registry: []',
      ].join('\n'),
    );
    const { code, stdout, stderr } = await machine.ask('get', 'docker.example.com');
    assert.deepEqual([code, stderr], [2, repeated(stdout)]);
    const problems = stdout
      .trimEnd()
      .split('\n')
      .map((line) => /^(.*?):(\d+):\d+: ([\w.[\]]+): /.exec(line)?.slice(1));
    assert.deepEqual(problems, [
      [file, '2', 'registries[0].match'],
      [file, '2', 'registries[0].credentials.password'],
      [file, '3', 'registries[1].match'],
      [file, '3', 'registries[1].credentials.type'],
      [file, '4', 'registries[2].match'],
      [file, '4', 'registries[2].credentials.type'],
      [file, '5', 'registries[3].credentials.type'],
      [file, '6', 'registries[4].credentials'],
      [file, '6', 'registries[4].match'],
      [file, '6', 'registries[4].extra'],
      [file, '7', 'registry'],
    ]);
    assert.doesNotMatch(stdout, /hunter2/);
  });

  for (const text of [
    'registries: [ [ {',
    'registries: [ { match: a.example.com',
    'registries: "x',
    'registries:\n\t- x',
  ]) {
    test(`that is no YAML, ${JSON.stringify(text)}: one line on each stream`, async (t) => {
      const machine = new Machine(t);
      machine.write('.docker/registry-proxy.yaml', text);
      const { code, stdout, stderr } = await machine.ask('get', 'docker.example.com');
      assert.deepEqual([code, stderr], [2, repeated(stdout)]);
      assert.match(stdout, /^[^\n]*registry-proxy\.yaml:\d+:\d+: [^\n]*\n$/);
    });
  }

  test('names a file that is not there: told with its place, and only to who needs it', async (t) => {
    const machine = configured(t);
    machine.configure([
      { match: 'a.example.com', credentials: { type: 'static', username: 'a', password: { file: 'gone' } } },
      {
        match: 'b.example.com',
        credentials: { type: 'static', username: 'b', password: { file: 'password' } },
      },
    ]);
    const { code, stdout } = await machine.ask('get', 'a.example.com');
    assert.equal(code, 2);
    assert.match(
      stdout,
      /registry-proxy\.yaml:\d+:\d+: registries\[0\]\.credentials\.password\.file: gone does not exist/,
    );
    assert.equal((await machine.ask('get', 'b.example.com')).code, 0);
  });
});

describe('who may write the configuration', () => {
  const nobody = 65_534;
  const isRoot = process.getuid?.() === 0;
  const ask = async (machine: Machine) => {
    const { code, stdout, stderr } = await machine.ask('get', 'docker.example.com');
    if (code !== 0) assert.equal(stderr, repeated(stdout));
    return [code, stdout] as const;
  };
  const file = (machine: Machine, name = 'registry-proxy.yaml') => join(machine.home, '.docker', name);
  const refusedFor = (name: string, what: string) =>
    `${name}: is not taken, for a configuration can name programs to run: ${what}\n`;

  for (const mode of [0o620, 0o602, 0o666, 0o777]) {
    const octal = mode.toString(8);
    test(`others may not, by mode ${octal}`, async (t) => {
      const machine = configured(t);
      chmodSync(file(machine), mode);
      const said = `others may write it (mode ${octal}); chmod go-w`;
      assert.deepEqual(await ask(machine), [2, refusedFor(file(machine), said)]);
    });
  }

  for (const mode of [0o600, 0o400, 0o644, 0o755]) {
    test(`mode ${mode.toString(8)} is fine`, async (t) => {
      const machine = configured(t);
      chmodSync(file(machine), mode);
      assert.equal((await ask(machine))[0], 0);
    });
  }

  test('of a link its target counts, wherever it leads', async (t) => {
    const machine = configured(t);
    renameSync(file(machine), file(machine, 'target.yaml'));
    symlinkSync('target.yaml', file(machine));
    assert.equal((await ask(machine))[0], 0);
    chmodSync(file(machine, 'target.yaml'), 0o622);
    const said = 'others may write it (mode 622); chmod go-w';
    assert.deepEqual(await ask(machine), [2, refusedFor(file(machine), said)]);
  });

  test('somebody else may not own it', { skip: !isRoot && 'only root gives files away' }, async (t) => {
    const machine = configured(t);
    chownSync(file(machine), nobody, nobody);
    const said = `it belongs to user ${nobody}; expected root`;
    assert.deepEqual(await ask(machine), [2, refusedFor(file(machine), said)]);
    const link = new Machine(t);
    link.write('.docker/config.json', '{}');
    symlinkSync(file(machine), file(link));
    assert.deepEqual(await ask(link), [2, refusedFor(file(link), said)]);
  });

  for (const [uid, mode, user, refused] of [
    [1000, 0o100600, 1000, undefined],
    [0, 0o100644, 1000, undefined],
    [0, 0o100644, 0, undefined],
    [1000, 0o100600, 0, /belongs to user 1000; expected root$/],
    [1001, 0o100600, 1000, /belongs to user 1001; expected user 1000 or root$/],
    [0, 0o100664, 1000, /others may write it \(mode 664\); chmod go-w$/],
  ] as const) {
    const shown = mode.toString(8).slice(-3);
    test(`of user ${uid} with mode ${shown} it is ${refused ? 'not ' : ''}for user ${user}`, () => {
      const said = refusalOf({ uid, mode }, user);
      if (refused === undefined) assert.equal(said, undefined);
      else assert.match(said ?? '', refused);
    });
  }
});
