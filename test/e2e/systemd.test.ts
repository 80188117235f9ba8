import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type Systemd, UnitExistsError } from '../../src/contracts/node.js';
import { requireProgram } from '../../src/testing/programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { SystemdNode } from './harness/systemd-node.js';
import { openSystemdOf } from './harness/systemd-of-node.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

// The D-Bus edge against the systemd of a node, by systemd's own socket and by the system bus.

const units = '/etc/systemd/system';
const service = (...lines: readonly string[]) => `[Service]\n${lines.join('\n')}\n`;
const files = {
  [`${units}/sleeper.service`]: `[Unit]\nDescription=Sleeps\nAfter=nobody.service\n${service(
    'Environment="WORDS=a b"',
    'EnvironmentFile=-/etc/missing.env',
    'EnvironmentFile=/etc/there.env',
    'ExecStartPre=-/bin/false --with "two words"',
    'ExecStart=/bin/sleep $SECONDS_TO_SLEEP',
  )}`,
  [`${units}/sleeper.service.d/10-more.conf`]: service('OOMScoreAdjust=-10'),
  [`${units}/failing.service`]: service('Type=oneshot', 'ExecStart=/bin/sh -c "exit 3"'),
  [`${units}/looping.service`]: service(
    'ExecStart=/bin/false',
    'Restart=always',
    'RestartSec=100ms',
    'StartLimitIntervalSec=0',
  ),
  [`${units}/never-ready.service`]: service('Type=notify', 'ExecStart=/bin/sleep 600', 'TimeoutStartSec=600'),
  '/etc/there.env': 'SECONDS_TO_SLEEP=600\n',
} as const;

for (const [kind, socket] of [
  ['systemd itself', '/run/systemd/private'],
  ['the system bus', '/run/dbus/system_bus_socket'],
] as const) {
  test(`by ${kind}`, async (t) => {
    if (!requireSystemd(t)) return;
    if (kind === 'the system bus' && !requireProgram(t, 'dbus-daemon', 'dbus')) return;
    const workspace = await openWorkspace('waiting');
    t.after(() => workspace.close());
    const node = await SystemdNode.start(workspace, { files, units: ['dbus.socket'] });
    const systemd = await openSystemdOf(node, { socket });
    t.after(() => systemd.close());
    await tests(t, node, systemd);
  });
}

async function tests(t: TestContext, node: SystemdNode, systemd: Systemd): Promise<void> {
  await t.test('a unit is seen as systemd sees it', async () => {
    await systemd.start('sleeper.service');
    const state = await systemd.unit('sleeper.service');
    const { mainPid, after, ...rest } = state;
    assert.ok(after.includes('nobody.service'), after.join(' '));
    assert.ok(after.includes('basic.target'), after.join(' '));
    assert.equal(
      mainPid,
      Number(await node.systemctl('show', '--value', '-p', 'MainPID', 'sleeper.service')),
    );
    assert.deepEqual(rest, {
      loadState: 'loaded',
      activeState: 'active',
      subState: 'running',
      result: 'success',
      mainStatus: 0,
      restarts: 0,
      fragmentPath: `${units}/sleeper.service`,
      dropInPaths: [`${units}/sleeper.service.d/10-more.conf`],
      needsReload: false,
      execStart: [['/bin/sleep', '$SECONDS_TO_SLEEP']],
      execStartPre: [['/bin/false', '--with', 'two words']],
      environmentFiles: ['-/etc/missing.env', '/etc/there.env'],
    });
  });

  await t.test('a unit that is not there is told as a state', async () => {
    const state = await systemd.unit('nobody.service');
    assert.equal(state.loadState, 'not-found');
    assert.equal(state.activeState, 'inactive');
    assert.equal(state.mainPid, 0);
  });

  await t.test('a unit that is no service has no process', async () => {
    const state = await systemd.unit('basic.target');
    assert.equal(state.activeState, 'active');
    assert.deepEqual([state.result, state.mainPid, state.execStart], ['', 0, []]);
  });

  await t.test('a restart gives another process, a stop none', async () => {
    await systemd.start('sleeper.service');
    const before = (await systemd.unit('sleeper.service')).mainPid;
    await systemd.restart('sleeper.service');
    const after = await systemd.unit('sleeper.service');
    assert.equal(after.activeState, 'active');
    assert.notEqual(after.mainPid, before);
    await systemd.stop('sleeper.service');
    const stopped = await systemd.unit('sleeper.service');
    assert.deepEqual([stopped.activeState, stopped.mainPid], ['inactive', 0]);
  });

  await t.test('what is changed on the disk counts after a reload', async () => {
    const dropIn = `${units}/sleeper.service.d/90-ours.conf`;
    await systemd.start('sleeper.service');
    node.write(dropIn, service('Environment=OURS=1'));
    // systemd looks at the time of the file, which has seconds on some disks.
    assert.equal((await systemd.unit('sleeper.service')).needsReload, true, 'the change is not seen');
    await systemd.reload();
    const state = await systemd.unit('sleeper.service');
    assert.equal(state.needsReload, false);
    assert.equal(state.activeState, 'active');
    assert.deepEqual(state.dropInPaths.slice(-1), [dropIn]);
    node.remove(dropIn);
    await systemd.reload();
  });

  await t.test('a job that fails says so, and the unit why', async () => {
    await assert.rejects(systemd.start('failing.service'), {
      message: 'systemd: starting failing.service: its job ended with: failed',
    });
    const state = await systemd.unit('failing.service');
    assert.deepEqual([state.activeState, state.result, state.mainStatus], ['failed', 'exit-code', 3]);
    await systemd.resetFailed('failing.service');
    assert.equal((await systemd.unit('failing.service')).activeState, 'inactive');
  });

  await t.test('a unit that is not there cannot be started, and is stopped', async () => {
    await assert.rejects(systemd.start('nobody.service'), {
      message: 'systemd: starting nobody.service: Unit nobody.service not found.',
    });
    await systemd.stop('nobody.service');
    await systemd.resetFailed('nobody.service');
  });

  await t.test('how often systemd restarted it is counted', async () => {
    await systemd.start('looping.service');
    const isCounted = await waitFor(async () => (await systemd.unit('looping.service')).restarts > 2, 20_000);
    assert.equal(isCounted, true, 'restarts are not counted');
    await systemd.stop('looping.service');
  });

  await t.test('a start that is given up is told', async () => {
    const starting = systemd.start('never-ready.service');
    const told = assert.rejects(starting, {
      message: 'systemd: starting never-ready.service: its job ended with: canceled',
    });
    const isStarting = async () => (await systemd.unit('never-ready.service')).activeState === 'activating';
    assert.equal(await waitFor(isStarting, 10_000), true, 'it does not start');
    await systemd.stop('never-ready.service');
    await told;
  });

  await t.test('several calls at once each get their own answer', async () => {
    const names = ['sleeper.service', 'failing.service', 'basic.target', 'nobody.service', 'looping.service'];
    const seen = await Promise.all(names.map((name) => systemd.unit(name)));
    assert.deepEqual(
      seen.map(({ fragmentPath }) => fragmentPath.split('/').at(-1)),
      ['sleeper.service', 'failing.service', 'basic.target', '', 'looping.service'],
    );
  });

  await t.test('a transient service runs, and its name is a lock as long as it does', async () => {
    const work = {
      name: 'work.service',
      description: 'Work',
      command: ['/bin/sh', '-c', 'touch /run/said; sleep 600'],
    };
    await systemd.startTransient(work);
    assert.equal((await systemd.unit('work.service')).activeState, 'active');
    assert.equal(await waitFor(() => node.exists('/run/said'), 10_000), true, 'it did nothing');
    await assert.rejects(systemd.startTransient(work), UnitExistsError);
    await systemd.stop('work.service');
    await systemd.startTransient(work);
    await systemd.stop('work.service');
    assert.equal((await systemd.unit('work.service')).loadState, 'not-found');
  });

  await t.test('an argument reaches a transient service as it is', async () => {
    await systemd.stop('work.service');
    const words = ['%n', '$HOME', '${HOME}', 'a "b" \\ c', '-x', ''];
    const command = ['/bin/sh', '-c', 'printf "%s|" "$@" > /run/words', 'sh', ...words];
    await systemd.startTransient({ name: 'words.service', description: 'Words', command });
    const isWritten = await waitFor(
      () => node.exists('/run/words') && node.read('/run/words') !== '',
      10_000,
    );
    assert.equal(isWritten, true, 'nothing was written');
    assert.equal(node.read('/run/words'), `${words.join('|')}|`);
    node.remove('/run/words');
  });

  await t.test('a transient service that fails does not keep its name', async () => {
    const failing = {
      name: 'short.service',
      description: 'Fails',
      command: ['/bin/sh', '-c', 'sleep 1; exit 1'],
    };
    await systemd.startTransient(failing);
    const isGone = async () => (await systemd.unit('short.service')).loadState === 'not-found';
    assert.equal(await waitFor(isGone, 10_000), true, 'it is still there');
    await systemd.startTransient(failing);
  });

  await t.test('a transient service that takes too long is ended', async () => {
    const long = { name: 'long.service', description: 'Takes long', command: ['/bin/sleep', '600'] };
    await systemd.startTransient({ ...long, timeLimit: 1_000 });
    const isGone = async () => (await systemd.unit('long.service')).loadState === 'not-found';
    assert.equal(await waitFor(isGone, 20_000), true, 'it goes on');
  });

  await t.test(
    'a transient service that is to be repeated is started again, three times in all',
    async () => {
      const command = ['/bin/sh', '-c', 'echo started >> /run/repeated; sleep 1; exit 1'];
      const again = { name: 'again.service', description: 'Fails', command, isRepeated: true };
      await systemd.startTransient(again);
      const isGone = async () => (await systemd.unit('again.service')).loadState === 'not-found';
      assert.equal(await waitFor(isGone, 40_000), true, 'it goes on');
      assert.equal(node.read('/run/repeated'), 'started\n'.repeat(3));
      node.remove('/run/repeated');
    },
  );

  await t.test('a transient service whose program is missing does not start', async () => {
    const missing = { name: 'missing.service', description: 'Missing', command: ['/opt/nothing'] };
    await assert.rejects(systemd.startTransient(missing), /^Error: systemd: starting missing\.service: /);
  });

  await t.test('a transient timer starts its service then, and not before', async () => {
    const touch = (name: string) => ['/bin/touch', `/run/${name}`];
    const later = { name: 'later.service', description: 'Later', command: touch('later'), after: 8_000 };
    const never = { name: 'never.service', description: 'Never', command: touch('never'), after: 6_000 };
    await systemd.startTransient(later);
    await systemd.startTransient(never);
    assert.equal((await systemd.unit('later.timer')).activeState, 'active');
    await assert.rejects(systemd.startTransient(later), UnitExistsError);
    await systemd.stop('never.timer');
    assert.equal(node.exists('/run/later'), false, 'it was started at once');
    assert.equal(await waitFor(() => node.exists('/run/later'), 20_000), true, 'it was not started');
    assert.equal(node.exists('/run/never'), false, 'the stopped timer fired');
    const isGone = async () => (await systemd.unit('later.timer')).loadState === 'not-found';
    assert.equal(await waitFor(isGone, 10_000), true, 'the timer stays');
  });

  await t.test('after systemd was executed anew, calls are answered again', async () => {
    const starting = systemd.start('never-ready.service').catch((error: Error) => error.message);
    const isStarting = async () => (await systemd.unit('never-ready.service')).activeState === 'activating';
    assert.equal(await waitFor(isStarting, 10_000), true, 'it does not start');
    await node.systemctl('daemon-reexec');
    const isAnswered = async () => (await systemd.unit('sleeper.service')).loadState === 'loaded';
    assert.equal(await waitFor(isAnswered, 20_000), true, 'no more answers');
    await node.systemctl('stop', 'never-ready.service');
    const told = await starting;
    assert.match(
      String(told),
      /^systemd: starting never-ready\.service: (its job ended with|the connection|.*ECONNRESET|.*EPIPE)/,
    );
    await systemd.restart('sleeper.service');
  });
}

describe('a systemd that does not answer', () => {
  test('is waited for no longer than the limit', async (t) => {
    if (!requireSystemd(t)) return;
    const workspace = await openWorkspace('waiting');
    t.after(() => workspace.close());
    const node = await SystemdNode.start(workspace, { files });
    const systemd = await openSystemdOf(node, {
      socket: '/run/systemd/private',
      callTimeout: 1_000,
      jobTimeout: 2_000,
    });
    t.after(() => systemd.close());
    await assert.rejects(systemd.start('never-ready.service'), {
      message: 'systemd: starting never-ready.service: it did not end within 2 s',
    });
    process.kill(node.pid, 'SIGSTOP');
    const asked = [systemd.unit('sleeper.service'), systemd.reload(), systemd.start('sleeper.service')];
    const told = await Promise.allSettled(asked);
    process.kill(node.pid, 'SIGCONT');
    assert.deepEqual(
      told.map((one) => (one.status === 'rejected' ? String(one.reason.message) : 'answered')),
      [
        'systemd: looking at sleeper.service: no answer to LoadUnit within 1 s',
        'systemd: daemon-reload: no answer to Reload within 1 s',
        'systemd: starting sleeper.service: no answer to StartUnit within 1 s',
      ],
    );
    const isAnswered = async () => (await systemd.unit('sleeper.service')).loadState === 'loaded';
    assert.equal(await waitFor(isAnswered, 20_000), true, 'no more answers');
  });

  test('is told at once where there is none', async (t) => {
    if (!requireSystemd(t)) return;
    const workspace = await openWorkspace('waiting');
    t.after(() => workspace.close());
    const node = await SystemdNode.start(workspace);
    await assert.rejects(
      openSystemdOf(node, { socket: '/run/nobody/private' }),
      /systemd: connecting: .*ENOENT/,
    );
  });
});
