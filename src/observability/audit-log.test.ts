import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEvent } from '../contracts/index.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { openAuditLog } from './audit-log.js';

const event: AuditEvent = {
  event: 'pull',
  result: 'ok',
  requestId: 'first',
  address: '192.0.2.1',
  service: 'docker.test',
  status: 200,
};

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'audit-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function opened(t: TestContext, file: string) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const metrics = new FakeMetrics();
  const stdout = { write: (line: string) => assert.fail(`${line} is no line for standard output`) };
  const audit = await openAuditLog({ file, stdout, clock, log, metrics });
  t.after(() => audit.close());
  const record = (requestId: string) => audit.record({ ...event, requestId });
  const lost = (how: string) => metrics.value('audit_lines_lost_total', { how });
  return { audit, clock, log, record, lost };
}

/** The request ids of a file's lines; a line that is none as it is. */
function idsIn(file: string): readonly unknown[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  assert.equal(lines.pop(), '', 'the file ends with a newline');
  return lines.map((line) => {
    try {
      return (JSON.parse(line) as AuditEvent).requestId;
    } catch {
      return line;
    }
  });
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return;
    await sleep(10);
  }
  assert.fail(`waited in vain until ${what}`);
}

const holdsId = (file: string, id: string) => () =>
  existsSync(file) && readFileSync(file, 'utf8').includes(`"${id}"`);

describe('a line', () => {
  const full: Required<AuditEvent> = {
    reason: 'none',
    error: 'UNKNOWN',
    bytes: 0,
    status: 201,
    token: '0123456789ab',
    granted: ['repository:team/app:pull,push'],
    rules: ['policy[0]', 'policy[1]'],
    upstreamRepository: 'acme/app',
    upstream: 'hub',
    mountedFrom: 'team/base',
    digest: 'sha256:00',
    tag: 'latest',
    repository: 'team/app',
    action: 'pull,push',
    object: 'blob',
    user: 'alice',
    verifier: 'corp',
    principal: 'corp:alice',
    service: 'docker.test',
    address: '192.0.2.1',
    requestId: 'first',
    result: 'ok',
    event: 'push',
  };

  async function printed(one: AuditEvent): Promise<string> {
    const lines: string[] = [];
    const stdout = { write: (line: string) => void lines.push(line) };
    const parts = { clock: new FakeClock(), log: new FakeLog(), metrics: new FakeMetrics() };
    const audit = await openAuditLog({ stdout, ...parts });
    audit.record(one);
    audit.reopen();
    await audit.close();
    assert.equal(lines.length, 1);
    return lines[0] ?? '';
  }

  it('has its members in their order', async () => {
    const golden =
      '{"audit":1,"time":"2026-01-01T00:00:00.000Z","event":"push","result":"ok","requestId":"first",' +
      '"address":"192.0.2.1","service":"docker.test","principal":"corp:alice","verifier":"corp","user":"alice",' +
      '"object":"blob","action":"pull,push","repository":"team/app","tag":"latest","digest":"sha256:00",' +
      '"mountedFrom":"team/base","upstream":"hub","upstreamRepository":"acme/app",' +
      '"rules":["policy[0]","policy[1]"],"granted":["repository:team/app:pull,push"],"token":"0123456789ab",' +
      '"status":201,"bytes":0,"error":"UNKNOWN","reason":"none"}\n';
    assert.equal(await printed(full), golden);
  });

  it('leaves out what is not known', async () => {
    const golden =
      '{"audit":1,"time":"2026-01-01T00:00:00.000Z","event":"pull","result":"ok","requestId":"first",' +
      '"address":"192.0.2.1","service":"docker.test","status":200}\n';
    assert.equal(await printed(event), golden);
  });

  for (const [what, text, kept] of [
    ['quotes', '"', /^"+…$/],
    ['characters of three bytes', '字', /^字+…$/],
    ['characters of two units', '😀', /^(?:😀)+…$/],
    ['halves of characters', '\ud800', /^\ufffd+…$/],
    ['control characters', '\u0000\n\u2028', /^\?+…$/],
  ] as const) {
    it(`of ${what} without end is bounded, and one line`, async () => {
      const long = text.repeat(20_000);
      const ascii = 'a'.repeat(20_000);
      const chosen = { service: long, principal: long, user: long, reason: long };
      const parsed = { repository: ascii, tag: ascii, digest: ascii, mountedFrom: ascii, requestId: ascii };
      const lists = { rules: Array(200).fill(long), granted: Array(200).fill(ascii) };
      const line = await printed({ ...full, ...chosen, ...parsed, ...lists });
      assert.ok(Buffer.byteLength(line) <= 8192, `${Buffer.byteLength(line)} bytes`);
      assert.equal(line.indexOf('\n'), line.length - 1);
      const read = JSON.parse(line) as Required<AuditEvent>;
      for (const one of [read.user, read.reason, read.granted.at(-1), read.rules.at(-1)]) {
        assert.ok(one?.endsWith('…'), `${one} says that it was cut`);
      }
      assert.match(read.user, kept);
    });
  }

  it('keeps a list that fits', async () => {
    const granted = Array.from({ length: 40 }, (_, i) => `repository:team/app-${i}:pull,push`);
    const read = JSON.parse(await printed({ ...full, granted })) as AuditEvent;
    assert.deepEqual(read.granted, granted);
  });
});

describe('a file', () => {
  it('is made for its owner and group, and appended to', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const before = process.umask(0);
    t.after(() => process.umask(before));
    for (const id of ['first', 'second']) {
      const { audit, record } = await opened(t, file);
      record(id);
      await audit.close();
    }
    assert.deepEqual(idsIn(file), ['first', 'second']);
    assert.equal(statSync(file).mode & 0o777, 0o640);
  });

  it('that was renamed is left within a second', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const { audit, clock, record, lost } = await opened(t, file);
    record('first');
    await until('the first line is there', holdsId(file, 'first'));
    renameSync(file, `${file}.1`);
    clock.advance(999);
    record('second');
    await until('the second line is there', holdsId(`${file}.1`, 'second'));
    clock.advance(1);
    record('third');
    await audit.close();
    assert.deepEqual(idsIn(`${file}.1`), ['first', 'second']);
    assert.deepEqual(idsIn(file), ['third']);
    assert.equal(lost('failed'), 0);
  });

  it('that another one has replaced is left', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const { audit, clock, record } = await opened(t, file);
    record('first');
    await until('the first line is there', holdsId(file, 'first'));
    renameSync(file, `${file}.1`);
    writeFileSync(file, '');
    clock.advance(-1000); // the clock was set back
    record('second');
    await audit.close();
    assert.deepEqual([idsIn(`${file}.1`), idsIn(file)], [['first'], ['second']]);
  });

  it('is opened anew when asked, also without a line', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const { audit, record } = await opened(t, file);
    record('first');
    await until('the first line is there', holdsId(file, 'first'));
    renameSync(file, `${file}.1`);
    audit.reopen();
    await until('a new file is there', () => existsSync(file));
    record('second');
    await audit.close();
    assert.deepEqual([idsIn(`${file}.1`), idsIn(file)], [['first'], ['second']]);
    rmSync(file);
    audit.reopen();
    await sleep(20);
    assert.ok(!existsSync(file), 'it was closed, and stays so');
  });

  it('that was copied and truncated goes on at its beginning', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const { audit, record } = await opened(t, file);
    record('first');
    await until('the first line is there', holdsId(file, 'first'));
    truncateSync(file, 0);
    record('second');
    await audit.close();
    assert.deepEqual(idsIn(file), ['second']);
  });

  it('that ends in the middle of a line gets the next one on a new line', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    writeFileSync(file, '{"audit":1,"ti');
    const { audit, record } = await opened(t, file);
    record('first');
    await audit.close();
    assert.deepEqual(idsIn(file), ['{"audit":1,"ti', 'first']);
  });

  it('takes nothing after the end, and says what that cost', async (t) => {
    const file = join(temporary(t), 'audit.jsonl');
    const { audit, record, lost } = await opened(t, file);
    record('first');
    await audit.close();
    record('late');
    await audit.close();
    assert.deepEqual(idsIn(file), ['first']);
    assert.equal(lost('dropped'), 1);
  });
});

describe('what goes wrong', () => {
  it('a directory that is gone costs lines until it is back, and is told once', async (t) => {
    const directory = join(temporary(t), 'logs');
    const file = join(directory, 'audit.jsonl');
    mkdirSync(directory);
    const { audit, clock, log, record, lost } = await opened(t, file);
    rmSync(directory, { recursive: true });
    clock.advance(1000);
    record('first');
    await until('the first line is lost', () => lost('failed') === 1);
    record('second');
    await until('the second line is lost', () => lost('failed') === 2);
    mkdirSync(directory);
    record('third');
    await until('the third line is there', holdsId(file, 'third'));
    await audit.close();
    assert.deepEqual(idsIn(file), ['third']);
    assert.equal(lost('failed'), 2);
    assert.deepEqual(
      log.entries.map(({ level, fields }) => [level, fields.file, fields.lost]),
      [
        ['error', file, undefined],
        ['warn', file, 2],
      ],
    );
    assert.match(log.text, /ENOENT/);
  });

  it('a full disk costs lines, none of which is counted twice; the next one begins on a new line', async (t) => {
    const disk = temporary(t);
    const file = join(disk, 'audit.jsonl');
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return t.skip('only root can mount a small disk');
    }
    try {
      const { audit, log, record, lost } = await opened(t, file);
      for (let i = 0; i < 300; i++) record(`early-${i}`);
      await until('lines are lost', () => lost('failed') > 0);
      const before = readFileSync(file, 'utf8');
      assert.ok(!before.endsWith('\n'), 'the disk was full in the middle of a line');
      assert.equal(before.split('\n').length - 1 + lost('failed'), 300);
      execFileSync('mount', ['-o', 'remount,size=1m', disk]);
      record('late');
      await until('a line is there', holdsId(file, 'late'));
      await audit.close();
      const half = before.slice(before.lastIndexOf('\n') + 1);
      assert.deepEqual(idsIn(file).slice(-2), [half, 'late']);
      assert.equal(log.at('error').length, 1);
      assert.match(log.text, /ENOSPC/);
    } finally {
      execFileSync('umount', [disk]);
    }
    return undefined;
  });

  it('a file that cannot be opened stops the start with one line that names it', async (t) => {
    const directory = temporary(t);
    writeFileSync(join(directory, 'file'), '');
    execFileSync('mkfifo', [join(directory, 'unread')]);
    for (const [name, code] of [
      ['absent/audit.jsonl', 'ENOENT'],
      ['file/audit.jsonl', 'ENOTDIR'],
      ['.', 'EISDIR'],
      ['unread', 'ENXIO'],
    ] as const) {
      const file = join(directory, name);
      await assert.rejects(opened(t, file), (error) => isOneLineWith(error, `${file}: ${code}`));
    }
  });

  it('a directory that may not be written stops the start', async (t) => {
    const directory = temporary(t);
    execFileSync('chmod', ['a-w', directory]);
    const user = process.geteuid?.();
    if (user === 0) process.seteuid?.(65534); // root may write everywhere
    try {
      const file = join(directory, 'audit.jsonl');
      await assert.rejects(opened(t, file), (error) => isOneLineWith(error, `${file}: EACCES`));
    } finally {
      if (user === 0) process.seteuid?.(0);
    }
  });
});

function isOneLineWith(error: unknown, text: string): boolean {
  assert.ok(error instanceof Error, 'an Error');
  assert.ok(error.message.includes(text), `${error.message} has ${text}`);
  assert.ok(!error.message.includes('\n'), 'one line');
  return true;
}
