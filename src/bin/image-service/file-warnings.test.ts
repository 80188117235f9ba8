import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadImageServiceConfiguration } from '../../config/image-service/load.js';
import { directoryWarnings, fileWarnings, writerWarnings } from './file-warnings.js';

const directory = mkdtempSync(join(tmpdir(), 'image-service-files-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string, mode: number): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

const text = `images:
  - { match: a.example.com/**, credentials: { type: anonymous } }
  - { match: b.example.com/**, credentials: { type: static, username: u, password: { file: password } } }
`;

async function warningsOf(mode: number, secretMode: number): Promise<readonly string[]> {
  write('password', 'hunter2', secretMode);
  const loaded = await loadImageServiceConfiguration(write('config.yaml', text, mode));
  assert.ok('configuration' in loaded, JSON.stringify(loaded));
  const found = await fileWarnings(loaded.configuration);
  return found.map(({ setting, message }) => `${setting}: ${message}`);
}

const because = 'who may write this file chooses which programs run here, and where secrets are shown';

describe('the files of a configuration', () => {
  const secret = 'images[1].credentials.password.file: password may be read by everybody on this machine';
  const cases: readonly (readonly [mode: number, secretMode: number, expected: readonly string[]])[] = [
    [0o600, 0o600, []],
    [0o644, 0o640, []],
    [0o664, 0o600, [`: '0664': others than the owner may write: ${because}`]],
    [0o606, 0o600, [`: '0606': others than the owner may write: ${because}`]],
    [0o600, 0o644, [`${secret} ('0644')`]],
    [0o620, 0o604, [`: '0620': others than the owner may write: ${because}`, `${secret} ('0604')`]],
  ];
  for (const [mode, secretMode, expected] of cases) {
    test(`${mode.toString(8)} with a secret of ${secretMode.toString(8)}`, async () => {
      assert.deepEqual(await warningsOf(mode, secretMode), expected);
    });
  }

  test('may have gone meanwhile', async () => {
    const loaded = await loadImageServiceConfiguration(write('config.yaml', text, 0o666));
    assert.ok('configuration' in loaded, JSON.stringify(loaded));
    rmSync(join(directory, 'config.yaml'));
    rmSync(join(directory, 'password'));
    assert.deepEqual(await fileWarnings(loaded.configuration), []);
  });
});

describe("the sockets' directories", () => {
  const run = join(directory, 'run');
  mkdirSync(run);
  const isRoot = process.getuid?.() === 0;
  const open = /^others may write into the directory of the socket/;
  const strange = /^serve will refuse it: its directory \S+ belongs to user 65534/;
  for (const [what, mode, uid, expected] of [
    ['0755', 0o755, 0, undefined],
    ['0775', 0o775, 0, open],
    ['1777', 0o1777, 0, open],
    ['somebody else', 0o700, 65534, strange],
  ] as const) {
    test(what, { skip: uid !== 0 && !isRoot && 'needs root' }, async () => {
      chmodSync(run, mode);
      if (isRoot) chownSync(run, uid, 0);
      write('password', 'hunter2', 0o600);
      const sockets = `listen: unix://${run}/a\nadmin: { socket: unix:///nonexistent/b }\n`;
      const loaded = await loadImageServiceConfiguration(write('sockets.yaml', sockets + text, 0o600));
      assert.ok('configuration' in loaded, JSON.stringify(loaded));
      const found = await directoryWarnings(loaded.configuration);
      assert.deepEqual(
        found.map(({ setting }) => setting),
        expected ? ['listen'] : [],
      );
      if (expected) assert.match(found[0]?.message ?? '', expected);
    });
  }
});

describe('the owner of a configuration', () => {
  for (const [uid, user, isFine] of [
    [0, 0, true],
    [0, 1000, true],
    [1000, 1000, true],
    [1000, 0, false],
    [1001, 1000, false],
    [1000, undefined, true],
  ] as const) {
    test(`${uid}, for a program of ${user}: ${isFine ? 'no warning' : 'a warning'}`, () => {
      const message = `belongs to user ${uid}, who is neither root nor the user of this program: ${because}`;
      const expected = isFine ? [] : [{ setting: '', message }];
      assert.deepEqual(writerWarnings({ uid, mode: 0o100600 }, user), expected);
    });
  }
});
