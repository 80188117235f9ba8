import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { rmSync, statSync, symlinkSync } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeLog } from '../testing/index.js';
import { temporaryDirectory, until } from './grpc-server-client.test.js';
import { UnixSocket, type UnixSocketOptions } from './unix-socket.js';
import { runChild } from './unix-socket-child.test.js';
import { claimSocket, temporaryPrefix } from './unix-socket-claim.js';

const word = 'ours\n';

async function open(
  t: TestContext,
  path: string,
  more: Partial<UnixSocketOptions> = {},
): Promise<UnixSocket & { readonly log: FakeLog }> {
  const log = new FakeLog();
  const onConnection = (socket: Socket) => {
    t.after(() => socket.destroy());
    // What it is sent comes back: a connection that goes on can be seen.
    socket.write(word);
    socket.pipe(socket);
  };
  const socket = await UnixSocket.open({
    ...{ address: { path }, mode: 0o600, directoryMode: 0o700, log, onConnection },
    ...more,
  });
  t.after(() => socket.close());
  return Object.assign(socket, { log });
}

/** @returns the first that comes, or the error's code */
async function firstOf(path: string): Promise<string> {
  const socket = connect(path);
  try {
    return String((await Promise.race([once(socket, 'data'), once(socket, 'error')]))[0]);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'no code';
  } finally {
    socket.destroy();
  }
}

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

/** Somebody else's listening socket. */
async function foreign(t: TestContext, path: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined).end('theirs\n')).listen(path);
  await once(server, 'listening');
  t.after(() => void server.close());
  return server;
}

/** A socket that nobody listens at any more, as a killed process leaves it. */
async function leaveDead(path: string): Promise<void> {
  const server = createServer().listen(`${path}.1`);
  await once(server, 'listening');
  await rename(`${path}.1`, path);
  server.close();
}

const openInChild = (path: string) =>
  `const options = { address: { path: ${JSON.stringify(path)} }, mode: 0o600, directoryMode: 0o700, log };
   await UnixSocket.open({ ...options, onConnection: (socket) => socket.end('child') })
     .then(() => setInterval(none, 1e6), (error) => console.log('refused: ' + error.message));
   console.log('ready');`;

describe('a unix socket', { concurrency: true, timeout: 60_000 }, () => {
  test('is made with its directories, for this user alone', async (t) => {
    const directory = join(await temporaryDirectory(), 'a', 'b');
    const path = join(directory, 'image.sock');
    const socket = await open(t, path);
    assert.equal(socket.path, path);
    assert.deepEqual(await Promise.all([path, directory, dirname(directory)].map(modeOf)), [
      '600',
      '700',
      '700',
    ]);
    assert.equal(await firstOf(path), word);
    assert.deepEqual(await readdir(directory), ['image.sock'], 'no temporary name is left');
  });

  test('has the modes it was given, whatever the umask; a directory that is there keeps its own', async (t) => {
    const directory = await temporaryDirectory();
    const made = join(directory, 'made', 's');
    await open(t, made, { mode: 0o666, directoryMode: 0o777 });
    assert.deepEqual(await Promise.all([made, dirname(made)].map(modeOf)), ['666', '777']);
    const kept = join(directory, 'kept');
    await mkdir(kept);
    await chmod(kept, 0o751);
    await open(t, join(kept, 's'), { mode: 0o660, directoryMode: 0o700 });
    assert.deepEqual(await Promise.all([join(kept, 's'), kept].map(modeOf)), ['660', '751']);
    assert.equal(process.umask(), process.umask(process.umask()), 'the umask is as it was');
  });

  test('has its mode from its first moment on', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const early: string[] = [];
    const newServer = () => {
      const server = createServer();
      server.once('listening', () => {
        early.push((statSync(String(server.address())).mode & 0o777).toString(8));
      });
      return server;
    };
    const { server } = await claimSocket({ path, mode: 0o660, directoryMode: 0o700, newServer });
    t.after(() => void server.close());
    assert.deepEqual(early, ['660']);
    assert.equal(await modeOf(path), '660');
  });

  test('is removed when it is closed; connections go on; a second close does nothing', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const socket = await open(t, path);
    const client = connect(path);
    t.after(() => client.destroy());
    await once(client, 'data');
    await Promise.all([socket.close(), socket.close()]);
    assert.equal(await firstOf(path), 'ENOENT');
    client.write('still there');
    assert.equal(String((await once(client, 'data'))[0]), 'still there');
  });

  const occupied = 'something is there that is no socket: remove it, or use another path';
  const live = 'another program listens there: stop it, or use another path';
  for (const [what, put, reason] of [
    ['a file', (path: string) => writeFile(path, 'kept'), occupied],
    ['a directory', (path: string) => mkdir(path), occupied],
    [
      'a link to a socket',
      async (path: string) => {
        await leaveDead(`${path}.2`);
        await symlink(`${path}.2`, path);
      },
      occupied,
    ],
  ] as const) {
    test(`does not replace ${what}`, async (t) => {
      const path = join(await temporaryDirectory(), 's');
      await put(path);
      const before = await lstat(path);
      await assert.rejects(open(t, path), { message: `cannot listen at unix://${path}: ${reason}` });
      assert.equal((await lstat(path)).ino, before.ino);
      const left = await readdir(dirname(path));
      assert.deepEqual(
        left.filter((name) => name.startsWith('.')),
        [],
      );
    });
  }

  test('does not replace one that another program listens at', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    await foreign(t, path);
    await assert.rejects(open(t, path), { message: `cannot listen at unix://${path}: ${live}` });
    assert.equal(await firstOf(path), 'theirs\n');
  });

  test('does not replace one of a program that is too busy to accept', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const listen = `createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('ready'))`;
    const { child } = await runChild(t, listen);
    child.kill('SIGSTOP');
    const waiting = Array.from({ length: 4 }, () => connect(path));
    t.after(() => waiting.forEach((socket) => void socket.destroy()));
    const codes = waiting.map((socket) =>
      Promise.race([once(socket, 'connect'), once(socket, 'error')]).catch(() => 0),
    );
    await Promise.all(codes);
    assert.equal(await firstOf(path), 'EAGAIN');
    await assert.rejects(open(t, path), { message: `cannot listen at unix://${path}: ${live}` });
  });

  test('replaces one that a killed process has left, of this program or another one', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const { child } = await runChild(t, openInChild(path));
    assert.equal(await firstOf(path), 'child');
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    assert.equal(await firstOf(path), 'ECONNREFUSED');
    await open(t, path);
    assert.equal(await firstOf(path), word);
  });

  test('removes temporary names that a crash has left, and no others', async (t) => {
    const directory = await temporaryDirectory();
    const path = join(directory, 's');
    const prefix = temporaryPrefix(path);
    await Promise.all([
      leaveDead(join(directory, `${prefix}aaaaaa`)),
      leaveDead(join(directory, `${prefix}zzzzzz`)),
    ]);
    const others = ['other', `${temporaryPrefix(join(directory, 't'))}bbbbbb`];
    await Promise.all(others.map((name) => leaveDead(join(directory, name))));
    await open(t, path);
    assert.deepEqual((await readdir(directory)).sort(), [...others, 's'].sort());
  });

  test('may have a neighbour', async (t) => {
    const directory = await temporaryDirectory();
    const paths = ['image.sock', 'admin.sock'].map((name) => join(directory, name));
    await Promise.all(paths.map((path) => open(t, path)));
    assert.deepEqual(await Promise.all(paths.map(firstOf)), [word, word]);
  });

  for (const before of ['nothing', 'a dead socket'] as const) {
    test(`is had by one of many who start at once, where there was ${before}`, async (t) => {
      for (let round = 0; round < 20; round++) {
        const path = join(await temporaryDirectory(), 's');
        if (before === 'a dead socket') await leaveDead(path);
        const late = round % 2 === 0 ? 0 : 4; // milliseconds: all at once, or one after the other
        const tries = await Promise.allSettled(
          Array.from({ length: 8 }, async () => {
            if (late > 0) await sleep(Math.random() * late);
            return open(t, path);
          }),
        );
        const reasons = tries.flatMap((one) => (one.status === 'rejected' ? String(one.reason.message) : []));
        assert.equal(reasons.length, 7, reasons.join('\n'));
        const known = /: another (?:program listens there: stop it|instance of this program starts there)/;
        for (const reason of reasons) assert.match(reason, known);
        assert.equal(await firstOf(path), word);
        assert.deepEqual(await readdir(dirname(path)), ['s']);
      }
    });
  }

  test('is had by one of several processes that start at once', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    await leaveDead(path);
    const children = await Promise.all([1, 2, 3].map(() => runChild(t, openInChild(path))));
    const refused = children.filter(({ text }) => text().includes('refused: '));
    assert.equal(refused.length, 2, children.map(({ text }) => text()).join('\n'));
    assert.equal(await firstOf(path), 'child');
  });

  test('is refused where its temporary name would be too long', async (t) => {
    const directory = await temporaryDirectory();
    const long = join(directory, 'd'.repeat(107 - Buffer.byteLength(directory) - 3), 's');
    assert.equal(Buffer.byteLength(long), 107);
    await assert.rejects(open(t, long), {
      message: new RegExp(
        `^cannot listen at unix://${long}: the path is too long: .*12 bytes.*; use a shorter directory$`,
      ),
    });
    const name = 's'.repeat(107 - Buffer.byteLength(directory) - 1);
    await open(t, join(directory, name));
    assert.equal(await firstOf(join(directory, name)), word);
  });

  test('is refused in one line where its directory cannot be made', async (t) => {
    const path = join(await temporaryDirectory(), 'file', 's');
    await writeFile(dirname(path), 'kept');
    await assert.rejects(open(t, path), {
      message: `cannot listen at unix://${path}: ${dirname(path)} is no directory`,
    });
    assert.equal(await readFile(dirname(path), 'utf8'), 'kept');
  });

  const isLinux = process.platform === 'linux';
  test('is refused in one line where Node would try for ever', {
    skip: !isLinux && 'no /proc',
  }, async (t) => {
    await assert.rejects(open(t, '/proc/no-such-directory/a/s'), {
      message: 'cannot listen at unix:///proc/no-such-directory/a/s: its directory cannot be made: ENOENT',
    });
  });

  const isRoot = process.getuid?.() === 0;
  test('is refused in a directory of somebody else', { skip: !isRoot && 'needs root' }, async (t) => {
    const directory = join(await temporaryDirectory(), 'd');
    await mkdir(directory);
    await chown(directory, 65534, 65534);
    await symlink(directory, `${directory}.2`);
    await lchown(`${directory}.2`, 0, 0);
    for (const one of [directory, `${directory}.2`]) {
      await assert.rejects(open(t, join(one, 's')), {
        message: new RegExp(
          `: its directory ${one} belongs to user 65534, who could put another socket there: `,
        ),
      });
    }
    assert.deepEqual(await readdir(directory), []);
  });

  test('is had by a link of this user, and not by one of somebody else', {
    skip: !isRoot && 'needs root',
  }, async (t) => {
    const directory = join(await temporaryDirectory(), 'd');
    await mkdir(directory);
    await symlink(directory, `${directory}.2`);
    await open(t, join(`${directory}.2`, 's'));
    await lchown(`${directory}.2`, 65534, 65534);
    await assert.rejects(open(t, join(`${directory}.2`, 't')), { message: /belongs to user 65534/ });
  });

  for (const [mode, warnings] of [
    [0o700, 0],
    [0o755, 0],
    [0o770, 1],
    [0o777, 1],
    [0o1777, 1],
  ] as const) {
    test(`in a directory of mode ${mode.toString(8)} is told of ${warnings} times`, async (t) => {
      const directory = await temporaryDirectory();
      await chmod(directory, mode);
      const { log } = await open(t, join(directory, 's'));
      assert.equal(log.at('warn').length, warnings, log.text);
      if (warnings > 0) assert.match(log.text, /others may write into the directory of the socket/);
    });
  }

  test('leaves alone what somebody puts in its place while it is made', async (t) => {
    const directory = await temporaryDirectory();
    const victim = join(directory, 'victim');
    await writeFile(victim, '', { mode: 0o640 });
    const newServer = () => {
      const server = createServer();
      server.once('listening', () => {
        const temporary = String(server.address());
        rmSync(temporary);
        symlinkSync(victim, temporary);
      });
      return server;
    };
    const path = join(directory, 's');
    const { server } = await claimSocket({ path, mode: 0o666, directoryMode: 0o700, newServer });
    t.after(() => void server.close());
    assert.equal(await modeOf(victim), '640');
  });
});

describe('a unix socket that the next instance takes over', { concurrency: true, timeout: 60_000 }, () => {
  const replacing = { replace: true };

  test('goes to it at once; the one before keeps its connections, leaves the path alone, and tells it once', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const older = await open(t, path, replacing);
    const client = connect(path);
    t.after(() => client.destroy());
    await once(client, 'data');
    const onConnection = (socket: Socket) => void socket.end('newer\n');
    await open(t, path, { ...replacing, onConnection });
    assert.equal(await firstOf(path), 'newer\n');
    client.write('still there');
    assert.equal(String((await once(client, 'data'))[0]), 'still there');
    await until('it is told', () => older.log.entries.length > 0);
    await sleep(2_500); // two more looks
    assert.deepEqual(
      older.log.entries.map(({ level, message }) => `${level} ${message}`),
      ['info another instance has taken over the socket: open connections go on here, new ones go there'],
    );
    await older.close();
    assert.equal(await firstOf(path), 'newer\n');
    assert.deepEqual(await readdir(dirname(path)), ['s']);
  });

  test('comes back to the one before where the next one has died', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const older = await open(t, path, replacing);
    const newer = await open(t, path, replacing);
    await until('it is told', () => older.log.at('info').length > 0);
    await newer.close();
    await until('it is back', async () => (await firstOf(path)) === word);
    assert.equal(older.log.at('warn').length, 1);
  });

  test('is not had by one that does not replace', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    await open(t, path, replacing);
    await assert.rejects(open(t, path), { message: /another program listens there/ });
  });

  test('is no file of somebody else', async (t) => {
    const path = join(await temporaryDirectory(), 's');
    await writeFile(path, 'kept');
    await assert.rejects(open(t, path, replacing), { message: /that is no socket/ });
    assert.equal(await readFile(path, 'utf8'), 'kept');
  });
});

describe('a unix socket that is taken away', { concurrency: true, timeout: 60_000 }, () => {
  for (const [what, wipe] of [
    ['file', (path: string) => rm(path)],
    ['directory', (path: string) => rm(dirname(path), { recursive: true })],
    [
      'directory, which is made anew empty,',
      async (path: string) => {
        await rm(dirname(path), { recursive: true });
        await mkdir(dirname(path));
      },
    ],
  ] as const) {
    test(`with its ${what} is made anew, and connections go on`, async (t) => {
      const path = join(await temporaryDirectory(), 'd', 's');
      const socket = await open(t, path);
      const client = connect(path);
      t.after(() => client.destroy());
      await once(client, 'data');
      await wipe(path);
      await until('it is there again', async () => (await firstOf(path)) === word);
      assert.equal(await modeOf(path), '600');
      assert.deepEqual(await readdir(dirname(path)), ['s']);
      assert.deepEqual(
        socket.log.entries.map(({ level, message }) => `${level} ${message}`),
        ['warn the socket had been removed, and was made anew'],
      );
      client.write('still there');
      assert.equal(String((await once(client, 'data'))[0]), 'still there');
      await socket.close();
      assert.equal(await firstOf(path), 'ENOENT');
    });
  }

  test("and replaced by another program's is left alone, also at the end; that is told once", async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const socket = await open(t, path);
    await rm(path);
    await foreign(t, path);
    await until('it is told', () => socket.log.at('error').length > 0);
    await sleep(2_500); // two more looks
    assert.deepEqual(socket.log.entries, [
      {
        level: 'error',
        fields: { path, reason: 'another program listens there: stop it, or use another path' },
        message: "the socket is not this program's any more: new connections do not come here",
      },
    ]);
    assert.equal(await firstOf(path), 'theirs\n');
    await socket.close();
    assert.equal(await firstOf(path), 'theirs\n');
    assert.deepEqual(await readdir(dirname(path)), [basename(path)]);
  });

  test("and replaced by another program's is had again once that is dead", async (t) => {
    const path = join(await temporaryDirectory(), 's');
    const socket = await open(t, path);
    await rm(path);
    await leaveDead(path);
    await until('it is ours again', async () => (await firstOf(path)) === word);
    assert.equal(socket.log.at('warn').length, 1);
  });

  test('while it is closed stays away', async (t) => {
    const path = join(await temporaryDirectory(), 'd', 's');
    const socket = await open(t, path);
    await rm(dirname(path), { recursive: true });
    await socket.close();
    await sleep(1_500); // longer than it looks
    assert.equal(await firstOf(path), 'ENOENT');
  });
});

// Alone: it is told of all the connections of the process.
test('a unix socket is had where another program closes its own just as it is looked at', async (t) => {
  const path = join(await temporaryDirectory(), 's');
  const other = await foreign(t, path);
  let looks = 0;
  const onConnect = () => {
    looks += 1;
    process.nextTick(() => other.close()); // the kernel has connected it, and Node has not told so yet
  };
  subscribe('net.client.socket', onConnect);
  await open(t, path).finally(() => unsubscribe('net.client.socket', onConnect));
  assert.ok(looks > 0, 'it was looked at');
  assert.equal(await firstOf(path), word);
});
