import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { findProgram } from '../../testing/programs.js';
import { HostFiles } from './host-files.js';

const runFile = promisify(execFile);

async function runProgram(program: string, ...args: readonly string[]): Promise<void> {
  await runFile(program, args, { timeout: 20_000 });
}

interface Place {
  readonly files: HostFiles;
  /** A path of the node on this machine. */
  at(path: string): string;
  /** Makes a file of the node. */
  put(path: string, text: string): void;
  link(path: string, target: string): void;
  /** Outside of the root, and the only file there. */
  readonly outside: string;
}

function place(t: TestContext): Place {
  const directory = mkdtempSync(join(tmpdir(), 'drp-host-files-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const root = join(directory, 'root');
  mkdirSync(root);
  const outside = join(directory, 'outside');
  writeFileSync(outside, 'not the node’s');
  const at = (path: string) => join(root, path);
  const makeParent = (path: string) => mkdirSync(dirname(at(path)), { recursive: true });
  return {
    files: new HostFiles(root),
    at,
    put: (path, text) => {
      makeParent(path);
      writeFileSync(at(path), text);
    },
    link: (path, target) => {
      makeParent(path);
      symlinkSync(target, at(path));
    },
    outside,
  };
}

test('what is not there is told by undefined, and by an empty list', async (t) => {
  const { files, put } = place(t);
  put('/etc/file', 'text');
  for (const path of ['/nothing', '/nothing/below', '/etc/file/below']) {
    assert.equal(await files.read(path), undefined, path);
    assert.equal(await files.stat(path), undefined, path);
    assert.equal(await files.hash(path), undefined, path);
    assert.deepEqual(await files.list(path === '/etc/file/below' ? '/nothing' : path), [], path);
    await files.remove(path);
  }
});

test('what is there is told', async (t) => {
  const { files, put, at } = place(t);
  put('/etc/b', 'bé');
  put('/etc/a', '');
  chmodSync(at('/etc/b'), 0o640);
  assert.equal(await files.read('/etc/b'), 'bé');
  assert.deepEqual(await files.list('/etc'), ['a', 'b']);
  const stat = { kind: 'file', size: 3, mode: 0o640, owner: 0, realPath: '/etc/b' };
  assert.deepEqual(await files.stat('/etc/b'), stat);
  assert.equal((await files.stat('/etc'))?.kind, 'directory');
  assert.equal(await files.hash('/etc/b'), createHash('sha256').update('bé').digest('hex'));
});

test('links are followed as the node follows them', async (t) => {
  const { files, put, link, at } = place(t);
  put('/usr/lib/os-release', 'ID=node');
  link('/etc/relative', '../usr/lib/os-release');
  link('/etc/absolute', '/usr/lib/os-release');
  link('/etc/beyond', '../../../../usr/lib/os-release');
  link('/lib', 'usr/lib');
  link('/etc/twice', '/lib/./os-release');
  for (const name of ['relative', 'absolute', 'beyond', 'twice']) {
    assert.equal(await files.read(`/etc/${name}`), 'ID=node', name);
    const stat = await files.stat(`/etc/${name}`);
    assert.deepEqual([stat?.kind, stat?.realPath], ['file', '/usr/lib/os-release'], name);
  }
  assert.deepEqual(await files.list('/lib'), ['os-release']);
  await files.write('/lib/more/written', 'text', 0o644);
  assert.equal(readFileSync(at('/usr/lib/more/written'), 'utf8'), 'text');
});

test('no link leads out of the root', async (t) => {
  const { files, link, at, outside } = place(t);
  link('/etc/absolute', outside);
  link('/etc/relative', '../../outside');
  link('/directory', dirname(outside));
  for (const path of ['/etc/absolute', '/etc/relative', '/directory/outside', '/../outside']) {
    assert.equal(await files.read(path), undefined, path);
    assert.equal(await files.hash(path), undefined, path);
    await files.remove(path);
    await files.write(path, 'changed', 0o644);
    assert.equal(readFileSync(outside, 'utf8'), 'not the node’s', path);
  }
  assert.deepEqual(readdirSync(dirname(outside)).sort(), ['outside', 'root']);
  assert.ok(existsSync(at('/etc/absolute')), 'a file takes the place of the link');
});

test('a circle of links is an error, not a search without end', async (t) => {
  const { files, link } = place(t);
  link('/etc/a', 'b');
  link('/etc/b', 'a');
  await assert.rejects(files.read('/etc/a'), { message: 'cannot read /etc/a: too many links' });
});

test('a file is written whole, with its mode, and nothing is left beside it', async (t) => {
  const { files, at } = place(t);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await files.write('/opt/ours/bin/file', 'first', 0o755);
  assert.equal(statSync(at('/opt/ours/bin/file')).mode & 0o7777, 0o755);
  assert.equal(await files.read('/opt/ours/bin/file'), 'first');
  await files.write('/opt/ours/bin/file', 'second', 0o600);
  assert.equal(statSync(at('/opt/ours/bin/file')).mode & 0o7777, 0o600);
  assert.equal(await files.read('/opt/ours/bin/file'), 'second');
  assert.deepEqual(readdirSync(at('/opt/ours/bin')), ['file']);
  await files.remove('/opt/ours/bin/file');
  assert.deepEqual(readdirSync(at('/opt/ours/bin')), []);
});

test('a directory that is made may be entered by others, whatever the umask', async (t) => {
  const { files, at } = place(t);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await files.write('/opt/ours/bin/file', 'text', 0o755);
  for (const path of ['/opt', '/opt/ours', '/opt/ours/bin']) {
    assert.equal(statSync(at(path)).mode & 0o7777, 0o755, path);
  }
});

test('a copy has the bytes of its source', async (t) => {
  const { files, at, outside } = place(t);
  const bytes = Buffer.alloc(3 * 1024 * 1024 + 1, 'x');
  writeFileSync(outside, bytes);
  await files.write('/bin/copy', { copyOf: outside }, 0o755);
  assert.ok(readFileSync(at('/bin/copy')).equals(bytes), 'the bytes differ');
  assert.equal(await files.hash('/bin/copy'), createHash('sha256').update(bytes).digest('hex'));
  await assert.rejects(
    files.write('/bin/copy', { copyOf: '/nowhere' }, 0o755),
    /^Error: cannot write \/bin\/copy: ENOENT/,
  );
  assert.ok(readFileSync(at('/bin/copy')).equals(bytes), 'a failed copy changed it');
  assert.deepEqual(readdirSync(at('/bin')), ['copy']);
});

test('what a crash left beside a file goes with the file, or with its writing an hour later', async (t) => {
  const { files, put, at, link, outside } = place(t);
  const [old, young] = [
    '.file.0123456789ab.kubelet-image-service',
    '.file.ba9876543210.kubelet-image-service',
  ];
  const others = ['.file.0123.kubelet-image-service', '.other.0123456789ab.kubelet-image-service'];
  const twoHoursAgo = Date.now() / 1000 - 2 * 60 * 60;
  for (const name of [old, young, ...others]) put(`/etc/${name}`, 'half');
  link('/etc/.file.kubelet-image-service', outside);
  for (const name of [old, '.file.kubelet-image-service', ...others]) {
    lutimesSync(at(`/etc/${name}`), twoHoursAgo, twoHoursAgo);
  }
  await files.write('/etc/file', 'whole', 0o644);
  assert.deepEqual(readdirSync(at('/etc')).sort(), [...others, young, 'file'].sort());
  utimesSync(at(`/etc/${young}`), Date.now() / 1000 + 60, Date.now() / 1000 + 60);
  await files.remove('/etc/file');
  assert.deepEqual(readdirSync(at('/etc')).sort(), others.sort());
  assert.equal(readFileSync(outside, 'utf8'), 'not the node’s');
});

test('of several writers at once each succeeds, and the file is whole', async (t) => {
  const { files, at } = place(t);
  const texts = Array.from({ length: 16 }, (_, turn) => String(turn % 10).repeat(100_000 + turn));
  await Promise.all(texts.map((text) => files.write('/etc/file', text, 0o644)));
  assert.ok(texts.includes(readFileSync(at('/etc/file'), 'utf8')), 'it is not as one of them wrote it');
  assert.deepEqual(readdirSync(at('/etc')), ['file']);
});

test('a file that is too long, or none, is not read', async (t) => {
  const { files, put, at } = place(t);
  put('/etc/long', 'x'.repeat(1024 * 1024 + 1));
  put('/etc/longest', 'x'.repeat(1024 * 1024));
  await assert.rejects(files.read('/etc/long'), {
    message: 'cannot read /etc/long: it is longer than 1 MiB',
  });
  assert.equal((await files.read('/etc/longest'))?.length, 1024 * 1024);
  await assert.rejects(files.read('/etc'), { message: 'cannot read /etc: a file was expected' });
  await assert.rejects(files.hash('/etc'), { message: 'cannot read /etc: a file was expected' });
  if (findProgram('mkfifo') === undefined) return;
  await runProgram('mkfifo', at('/etc/pipe'));
  await assert.rejects(files.read('/etc/pipe'), { message: 'cannot read /etc/pipe: a file was expected' });
  await assert.rejects(files.hash('/etc/pipe'), { message: 'cannot read /etc/pipe: a file was expected' });
  assert.equal((await files.stat('/etc/pipe'))?.kind, 'other');
});

test('files whose length the kernel does not tell are read', async () => {
  const files = new HostFiles();
  assert.match((await files.read('/proc/self/status')) ?? '', /^Name:/);
});

test('a relative path is a mistake', async (t) => {
  const { files } = place(t);
  await assert.rejects(files.read('etc/file'), {
    message: 'cannot read etc/file: an absolute path was expected',
  });
});

test('on a full disk, what was there stays, and nothing is left beside it', async (t) => {
  if (process.getuid?.() !== 0 || findProgram('mount') === undefined) return t.skip('mount: only as root');
  const { files, at } = place(t);
  mkdirSync(at('/small'));
  await runProgram('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at('/small'));
  try {
    await files.write('/small/file', 'before', 0o644);
    const long = 'x'.repeat(256 * 1024);
    await assert.rejects(
      files.write('/small/file', long, 0o644),
      /^Error: cannot write \/small\/file: ENOSPC/,
    );
    assert.equal(await files.read('/small/file'), 'before');
    assert.deepEqual(readdirSync(at('/small')), ['file']);
    await files.write('/small/file', 'after', 0o644);
    assert.equal(await files.read('/small/file'), 'after');
  } finally {
    await runProgram('umount', at('/small'));
  }
});
