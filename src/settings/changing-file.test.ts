import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { describeError } from '../errors.js';
import { ChangingFile } from './changing-file.js';

function setUp(t: TestContext, text?: string) {
  const directory = mkdtempSync(join(tmpdir(), 'changing-file-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'file');
  if (text !== undefined) writeFileSync(path, text);
  const told = { parsed: 0, changes: 0, failures: [] as string[] };
  const values: string[] = [];
  const file = new ChangingFile(path, {
    maxSize: 100,
    parse: (content) => {
      told.parsed++;
      if (content.startsWith('bad')) throw new Error('it is bad');
      return content;
    },
    onChange: (value) => {
      told.changes++;
      values.push(value);
    },
    onFailure: (error) => told.failures.push(describeError(error)),
  });
  return { directory, path, file, told, values };
}

const replacements: Readonly<Record<string, (path: string, text: string) => void>> = {
  'a write into it': (path, text) => writeFileSync(path, text),
  'a rename over it': (path, text) => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  },
  'a removal and a new file': (path, text) => {
    rmSync(path);
    writeFileSync(path, text);
  },
};

describe('ChangingFile', () => {
  for (const [name, replace] of Object.entries(replacements)) {
    it(`sees ${name}`, async (t) => {
      const { path, file, told, values } = setUp(t, 'one');
      assert.equal(await file.read(), 'one');
      replace(path, 'two');
      assert.equal(await file.read(), 'two');
      assert.deepEqual([told.changes, values], [1, ['two']]);
    });
  }

  it('sees many writes of the same length in the same instant', async (t) => {
    const { path, file, told } = setUp(t, '000');
    await file.read();
    for (let i = 1; i <= 200; i++) {
      const text = String(i).padStart(3, '0');
      writeFileSync(path, text);
      assert.equal(await file.read(), text);
    }
    assert.equal(told.changes, 200);
  });

  it('sees the symlink swap of a Kubernetes volume', async (t) => {
    const { directory } = setUp(t);
    for (const version of ['v1', 'v2']) {
      mkdirSync(join(directory, version));
      writeFileSync(join(directory, version, 'users'), version);
    }
    symlinkSync('v1', join(directory, '..data'));
    symlinkSync('..data/users', join(directory, 'users'));
    const file = new ChangingFile(join(directory, 'users'), { maxSize: 100, parse: (text) => text });
    assert.equal(await file.read(), 'v1');
    symlinkSync('v2', join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
    assert.equal(await file.read(), 'v2');
  });

  it('parses what did not change once', async (t) => {
    const { path, file, told } = setUp(t, 'one');
    for (let i = 0; i < 5; i++) await file.read();
    await Promise.all([file.read(), file.read()]);
    assert.equal(told.parsed, 1);
    utimesSync(path, 1, 1); // touched: another mark, the same text
    await file.read();
    assert.deepEqual(told, { parsed: 1, changes: 0, failures: [] });
  });

  for (const [name, spoil] of [
    ['is bad', (path: string) => writeFileSync(path, 'bad')],
    ['is too large', (path: string) => writeFileSync(path, 'x'.repeat(101))],
    ['is gone', (path: string) => rmSync(path)],
    [
      'is a directory',
      (path: string) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
    [
      'is a pipe nobody writes to',
      (path: string) => {
        rmSync(path);
        execFileSync('mkfifo', [path]);
      },
    ],
  ] as const) {
    it(`keeps the old value where the file ${name}, and tells it once`, { timeout: 20_000 }, async (t) => {
      const { path, file, told } = setUp(t, 'one');
      await file.read();
      spoil(path);
      for (let i = 0; i < 3; i++) assert.equal(await file.read(), 'one');
      assert.equal(told.failures.length, 1);
      assert(told.failures[0]?.startsWith(`cannot read ${path}: `), told.failures[0]);
      rmSync(path, { recursive: true, force: true });
      writeFileSync(path, 'two');
      assert.equal(await file.read(), 'two');
      assert.equal(told.changes, 1);
    });

    it(`fails, naming the file, where it ${name} from the start`, { timeout: 20_000 }, async (t) => {
      const { path, file } = setUp(t, 'one');
      spoil(path);
      await assert.rejects(file.read(), { message: `cannot read ${path}` });
      rmSync(path, { recursive: true, force: true });
      writeFileSync(path, 'two');
      assert.equal(await file.read(), 'two');
    });
  }

  it('tells each new failure', async (t) => {
    const { path, file, told } = setUp(t, 'one');
    await file.read();
    writeFileSync(path, 'bad');
    await file.read();
    writeFileSync(path, 'bad again');
    await file.read();
    assert.equal(told.failures.length, 2);
    assert.equal(told.changes, 0);
  });

  it('takes a file of exactly the allowed size', async (t) => {
    const { file } = setUp(t, 'x'.repeat(100));
    assert.equal((await file.read()).length, 100);
  });
});
