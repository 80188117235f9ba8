import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, open, readdir, rm, stat } from 'node:fs/promises';
import { connect, createServer, type ListenOptions, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { FakeLog, requireProgram } from '../testing/index.js';
import { temporaryDirectory } from './grpc-server-client.test.js';
import { UnixSocket } from './unix-socket.js';
import { runChild, startChild } from './unix-socket-child.test.js';

/** Says what it was given, answers each connection, and closes the socket on SIGTERM. */
const serve = `
  const place = { address: { fd: 3 }, mode: 0o600, directoryMode: 0o700 };
  const onConnection = (socket) => socket.end('from ' + process.pid + '\\n');
  const socket = await UnixSocket.open({ ...place, log, onConnection }).catch((error) => {
    console.log('refused: ' + error.message + ' ready');
    process.exit(1);
  });
  process.once('SIGTERM', () => socket.close());
  console.log('at ' + socket.path + ' ready');`;

/** A listening socket as systemd has it, and its file descriptor. It accepts nothing itself. */
async function held(t: TestContext, where: ListenOptions): Promise<number> {
  const server: Server & { readonly _handle?: { readonly fd: number } } = createServer({
    pauseOnConnect: true,
  });
  server.listen(where);
  await once(server, 'listening');
  t.after(() => void server.close());
  const { fd } = server._handle ?? {};
  assert.ok(fd !== undefined && fd > 2, `file descriptor ${fd}`);
  return fd;
}

async function firstOf(path: string): Promise<string> {
  const socket = connect(path);
  try {
    return String((await once(socket, 'data'))[0]);
  } finally {
    socket.destroy();
  }
}

describe('a socket that was handed over', { concurrency: true, timeout: 60_000 }, () => {
  test('is served, and its file stays when it is closed', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const fd = await held(t, { path });
    await chmod(path, 0o600);
    const before = await stat(path);
    const { child, text } = await runChild(t, serve, { fd, environment: { LISTEN_FDS: '1' } });
    assert.equal(text(), `at ${path} ready\n`, 'its path is known, and nothing is wrong with its mode');
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.equal((await stat(path)).ino, before.ino);
    assert.deepEqual(await readdir(dirname(path)), ['s']);
  });

  test('with a mode as systemd gives by default is served, with a warning', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const fd = await held(t, { path });
    await chmod(path, 0o666);
    const { text } = await runChild(t, serve, { fd, environment: { LISTEN_FDS: '1' } });
    assert.match(
      text(),
      /^warning: \{"path":"\S+","mode":"0666"\} others may connect .* set SocketMode=0600 in its unit\n/,
    );
  });

  test('by systemd itself is served', async (t) => {
    const program = requireProgram(t, 'systemd-socket-activate', 'systemd');
    if (program === undefined) return;
    const path = join(await temporaryDirectory(), 's');
    const { child, hasPrinted } = startChild(t, serve, { runBy: [program, '-E', 'PATH', '-l', path] });
    await hasPrinted('Listening on');
    assert.equal(await firstOf(path), `from ${child.pid}\n`);
    await hasPrinted(`at ${path} ready\n`);
  });

  test('which was removed meanwhile is served as long as it lasts', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const fd = await held(t, { path });
    await rm(path);
    const { text } = await runChild(t, serve, { fd, environment: { LISTEN_FDS: '1' } });
    assert.equal(text(), `at ${path} ready\n`);
  });

  test('and is no unix socket is refused: it would be open to the network', async (t) => {
    const fd = await held(t, { host: '127.0.0.1', port: 0 });
    const { text } = await runChild(t, serve, { fd, environment: { LISTEN_FDS: '1' } });
    assert.match(
      text(),
      /^refused: cannot listen at fd:\/\/3: the socket that was handed over is no unix socket: /,
    );
  });

  for (const [what, fd, environment, reason] of [
    ['is not there', 3, {}, 'LISTEN_FDS is not set; fd:// is for a service that a systemd socket starts'],
    ['is none of those', 4, { LISTEN_FDS: '1' }, 'LISTEN_FDS is 1, which does not reach fd://4'],
    ['is of none', 3, { LISTEN_FDS: '0' }, 'LISTEN_FDS is 0, which does not reach fd://3'],
    ['is of no number', 3, { LISTEN_FDS: 'all' }, 'LISTEN_FDS is 0, which does not reach fd://3'],
    [
      'is for another process',
      3,
      { LISTEN_FDS: '1', LISTEN_PID: '1' },
      `LISTEN_PID names another process (1) than this one (${process.pid})`,
    ],
    [
      'is for no process',
      3,
      { LISTEN_FDS: '1', LISTEN_PID: '' },
      `LISTEN_PID names another process (0) than this one (${process.pid})`,
    ],
    [
      'is not open',
      9_998,
      { LISTEN_FDS: '9999', LISTEN_PID: String(process.pid) },
      'file descriptor 9998 is not open',
    ],
  ] as const) {
    test(`that ${what} is refused`, async () => {
      const place = { address: { fd }, mode: 0o600, directoryMode: 0o700 };
      const opening = UnixSocket.open({
        ...place,
        log: new FakeLog(),
        onConnection: () => undefined,
        environment,
      });
      await assert.rejects(opening, {
        message: `cannot listen at fd://${fd}: no socket was handed over: ${reason}`,
      });
    });
  }

  test('that is a file is refused', async (t) => {
    const file = await open(join(await temporaryDirectory(), 'file'), 'w');
    t.after(() => file.close());
    const place = { address: { fd: file.fd }, mode: 0o600, directoryMode: 0o700 };
    const environment = { LISTEN_FDS: '9000' };
    await assert.rejects(
      UnixSocket.open({ ...place, log: new FakeLog(), onConnection: () => undefined, environment }),
      {
        message: `cannot listen at fd://${file.fd}: no socket was handed over: file descriptor ${file.fd} is none`,
      },
    );
  });
});
