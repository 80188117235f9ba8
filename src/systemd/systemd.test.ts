import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import library from '@homebridge/dbus-native/lib/message.js';
import type { Systemd } from '../contracts/node.js';
import { type ReceivedMessage, takeMessage } from './dbus-message.js';
import { openSystemd } from './systemd.js';

// A server that does what systemd never should; systemd itself is in test/e2e/systemd.test.ts.

const manager = 'org.freedesktop.systemd1.Manager';

interface Asked {
  readonly call: ReceivedMessage;
  answer(signature: string, ...body: readonly unknown[]): void;
  refuse(name: string, ...body: readonly unknown[]): void;
  signal(member: string, signature: string, ...body: readonly unknown[]): void;
  readonly socket: Socket;
}

type Script = (asked: Asked) => void;

interface ServerOptions {
  readonly greeting?: string;
  readonly script: Script;
}

/** Answers Subscribe by itself, and leaves the rest to the script. */
async function serve(t: TestContext, { greeting = 'OK 0123\r\n', script }: ServerOptions) {
  const directory = mkdtempSync(join(tmpdir(), 'drp-dbus-'));
  const path = join(directory, 'private');
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    let bytes = Buffer.alloc(0);
    let isLetIn = false;
    socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      if (!isLetIn) {
        const begin = bytes.indexOf('BEGIN\r\n');
        if (begin < 0) return;
        isLetIn = true;
        bytes = bytes.subarray(begin + 7);
        socket.write(greeting);
      }
      for (let taken = takeMessage(bytes); taken; taken = takeMessage(bytes)) {
        const serial = bytes.readUInt32LE(8);
        bytes = Buffer.from(taken.rest);
        const asked = askedOf(socket, taken.message, serial);
        if (taken.message.member === 'Subscribe') asked.answer('');
        else script(asked);
      }
    });
  });
  await once(server.listen(path), 'listening');
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
    rmSync(directory, { recursive: true });
  });
  const open = async (timeout = 500): Promise<Systemd> => {
    const systemd = await openSystemd({ socket: path, callTimeout: timeout, jobTimeout: timeout });
    t.after(() => systemd.close());
    return systemd;
  };
  return { open, connections: () => connections };
}

let serial = 0;

function askedOf(socket: Socket, call: ReceivedMessage, replySerial: number): Asked {
  const send = (message: object, signature: string, body: readonly unknown[]) => {
    serial += 1;
    socket.write(library.marshall({ ...message, serial, ...(signature && { signature, body }) }));
  };
  return {
    ...{ socket, call },
    answer: (signature, ...body) => send({ type: 2, replySerial }, signature, body),
    refuse: (errorName, ...body) => send({ type: 3, replySerial, errorName }, 's'.repeat(body.length), body),
    signal: (member, signature, ...body) =>
      send({ type: 4, path: '/org/freedesktop/systemd1', interface: manager, member }, signature, body),
  };
}

const job = '/org/freedesktop/systemd1/job/7';
const removed = (result: string) => ['uoss', 7, job, 'a.service', result] as const;

test('a job that ends before the call is answered is not waited for', async (t) => {
  const script: Script = ({ signal, answer }) => {
    signal('JobRemoved', ...removed('done'));
    answer('o', job);
  };
  const systemd = await (await serve(t, { script })).open();
  await systemd.start('a.service');
  await systemd.start('a.service');
});

test('the jobs of others are not ours', async (t) => {
  const script: Script = ({ signal, answer }) => {
    for (let n = 1000; n < 2000; n++) signal('JobRemoved', 'uoss', n, `${job}${n}`, 'b.service', 'failed');
    answer('o', job);
    for (let n = 2000; n < 3000; n++) signal('JobRemoved', 'uoss', n, `${job}${n}`, 'b.service', 'failed');
    signal('UnitNew', 'so', 'c.service', job);
    signal('JobRemoved', ...removed('dependency'));
  };
  const systemd = await (await serve(t, { script })).open(20_000);
  await assert.rejects(systemd.start('a.service'), {
    message: 'systemd: starting a.service: its job ended with: dependency',
  });
});

const faults: readonly { readonly of: string; readonly script: Script; readonly told: RegExp }[] = [
  {
    of: 'a connection that ends in the middle of a call',
    script: ({ socket }) => socket.destroy(),
    told: /^systemd: starting a\.service: (the connection was closed|.*ECONNRESET|.*EPIPE)$/,
  },
  {
    of: 'a connection that ends before the job does',
    script: ({ answer, socket }) => {
      answer('o', job);
      socket.end();
    },
    told: /^systemd: starting a\.service: the connection was closed$/,
  },
  {
    of: 'no answer',
    script: () => undefined,
    told: /^systemd: starting a\.service: no answer to StartUnit within 0\.5 s$/,
  },
  {
    of: 'a job without an end',
    script: ({ answer }) => answer('o', job),
    told: /^systemd: starting a\.service: it did not end within 0\.5 s$/,
  },
  {
    of: 'an answer that is no message',
    script: ({ socket }) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    told: /^systemd: starting a\.service: what came cannot be read: not a D-Bus message$/,
  },
  {
    of: 'a message that says it is long',
    script: ({ socket }) =>
      socket.write(Buffer.from('6c02000100000040010000000800000005017500010000', 'hex')),
    told: /^systemd: starting a\.service: what came cannot be read: a D-Bus message of \d+ bytes is too long$/,
  },
  {
    of: 'a message whose fields are none',
    script: ({ socket }) =>
      socket.write(Buffer.from(`6c020001000000000100000008000000${'ff'.repeat(8)}`, 'hex')),
    told: /^systemd: starting a\.service: what came cannot be read: /,
  },
  {
    of: 'an error of several lines',
    script: ({ refuse }) => refuse('org.freedesktop.DBus.Error.AccessDenied', 'Permission\n  denied\n'),
    told: /^systemd: starting a\.service: Permission denied$/,
  },
  {
    of: 'an error without words',
    script: ({ refuse }) => refuse('org.freedesktop.DBus.Error.AccessDenied'),
    told: /^systemd: starting a\.service: org\.freedesktop\.DBus\.Error\.AccessDenied$/,
  },
];

for (const { of, script, told } of faults) {
  test(`${of}: the call says so, and the next one is answered`, async (t) => {
    let isFaulty = true;
    const { open } = await serve(t, {
      script: (asked) => {
        if (isFaulty) return script(asked);
        asked.answer('o', job);
        asked.signal('JobRemoved', ...removed('done'));
      },
    });
    const systemd = await open();
    const error = await systemd.start('a.service').catch((reason: Error) => reason);
    assert.match(String(error?.message), told);
    isFaulty = false;
    await systemd.start('a.service');
  });
}

test('calls that find the connection broken share the next one', async (t) => {
  const { open, connections } = await serve(t, {
    script: ({ call, answer, socket, signal }) => {
      if (call.member === 'Reload') return void socket.destroy();
      answer('o', job);
      signal('JobRemoved', ...removed('done'));
    },
  });
  const systemd = await open();
  await assert.rejects(systemd.reload());
  await systemd.start('a.service');
  await assert.rejects(systemd.reload());
  await Promise.allSettled([systemd.resetFailed('a.service'), systemd.resetFailed('b.service')]);
  assert.equal(connections(), 3);
});

test('properties of another form are an error of the call', async (t) => {
  const script: Script = ({ call, answer }) =>
    call.member === 'LoadUnit' ? answer('o', '/unit') : answer('s', 'no properties');
  const systemd = await (await serve(t, { script })).open();
  await assert.rejects(systemd.unit('a.service'), /^Error: systemd: looking at a\.service: /);
});

for (const [greeting, told] of [
  ['REJECTED EXTERNAL\r\n', /^Error: systemd: connecting: this user was not let in: REJECTED$/],
  ['x'.repeat(5000), /^Error: systemd: connecting: what came cannot be read: the greeting is too long$/],
  ['OK', /^Error: systemd: connecting: no answer within 0\.5 s$/],
] as const) {
  test(`a greeting that begins with ${greeting.slice(0, 8).trim()} is no connection`, async (t) => {
    const { open } = await serve(t, { greeting, script: () => undefined });
    await assert.rejects(open(), told);
  });
}

test('a socket that is not there is told', async () => {
  await assert.rejects(openSystemd({ socket: '/nowhere/private' }), {
    message: 'systemd: connecting: connect ENOENT /nowhere/private',
  });
});

test('after it was closed, nothing is asked', async (t) => {
  const systemd = await (await serve(t, { script: () => undefined })).open();
  const asked = systemd.start('a.service').catch((error: Error) => error.message);
  await new Promise((resolve) => setImmediate(resolve));
  await systemd.close();
  await systemd.close();
  assert.equal(await asked, 'systemd: starting a.service: the connection was closed');
  await assert.rejects(systemd.reload(), { message: 'systemd: daemon-reload: it was closed' });
});
