import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { succeeded } from './harness/command.js';
import { startCriContainerd } from './harness/cri-containerd.js';
import {
  dropIn,
  InstalledNode,
  imageEndpoint,
  imageSocket,
  type NodeSurroundings,
  startSurroundings,
} from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { nodeOfNodes } from './harness/systemd-node.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

// Whatever happens, kubelet runs in the end and can start a pod that would run without us. Each fault has a node of its
// own; they mostly wait for the guard, which looks every 30 s and wants to have seen a fault for 30 s.

interface Fault {
  readonly name: string;
  readonly platform?: 'gke-cos';
  /** `none`: nothing is installed before. */
  readonly mode: 'host' | 'pod' | 'none';
  /** @returns what became of it, in a few words */
  play(n: InstalledNode, around: NodeSurroundings): Promise<string>;
}

const executable = '/opt/kubelet-image-service/bin/kubelet-image-service';
const aside = '/opt/the-real-executable';
const state = '/var/lib/kubelet-image-service';
/** Milliseconds: the guard's timer, its look, and a kubelet that stops and starts. */
const guardTime = 150_000;

/** `serve` does something else; all other commands of the executable are as they were. */
function breakService(n: InstalledNode, instead: string): void {
  copyFileSync(n.node.path(executable), n.node.path(aside));
  n.node.remove(executable);
  n.node.write(
    executable,
    `#!/bin/sh\ncase "$1" in serve) ${instead} ;; esac\nexec ${nodeOfNodes} ${aside} "$@"\n`,
  );
}

async function expectDropped(n: InstalledNode): Promise<void> {
  assert.equal(
    await n.becomes(undefined, guardTime),
    true,
    'the guard did not take the endpoint from kubelet',
  );
}

const faults: readonly Fault[] = [
  {
    name: 'service never healthy, when it is installed',
    mode: 'none',
    play: async (n, around) => {
      const pid = await n.kubelet.mainPid();
      const dead = JSON.stringify({
        listen: imageEndpoint,
        runtime: { type: 'cri', endpoint: 'unix:///run/nobody.sock' },
      });
      n.node.write('/etc/dead/config.yaml', dead);
      const { code } = await n.ours(
        'install',
        '--config',
        '/etc/dead/config.yaml',
        '--executable',
        around.executable,
      );
      assert.equal(code, 1, 'it was installed');
      assert.equal(await n.kubelet.mainPid(), pid, 'kubelet was restarted for nothing');
      assert.equal(n.node.exists(dropIn), false, 'the drop-in stays');
      return 'refused; kubelet was not touched';
    },
  },
  {
    name: 'service never healthy, later',
    mode: 'host',
    play: async (n) => {
      breakService(n, 'exec sleep 1000');
      await n.node.run('systemctl', ['restart', 'kubelet-image-service.service']);
      await expectDropped(n);
      // Half an hour later it is well again.
      n.node.remove(executable);
      copyFileSync(n.node.path(aside), n.node.path(executable));
      await n.node.run('chmod', ['755', executable]);
      await n.node.systemctl('restart', 'kubelet-image-service.service');
      const memory = '/run/kubelet-image-service-guard/state.json';
      const known = JSON.parse(n.node.read(memory)) as { at: number };
      n.node.write(memory, JSON.stringify({ ...known, at: known.at - 30 * 60_000 }));
      assert.equal(await n.becomes(imageEndpoint, guardTime), true, 'the endpoint does not come back');
      return 'the guard took the endpoint away, and brought it back when it was well';
    },
  },
  {
    name: 'service crash-looping',
    mode: 'host',
    play: async (n) => {
      breakService(n, 'exit 1');
      await n.node.run('systemctl', ['restart', 'kubelet-image-service.service']);
      await expectDropped(n);
      return 'the guard took the endpoint away';
    },
  },
  {
    name: 'socket stale',
    mode: 'host',
    play: async (n) => {
      breakService(n, 'exec sleep 1000');
      await n.node.systemctl('stop', 'kubelet-image-service.service');
      const bind = `require('net').createServer().listen('${imageSocket}', () => process.kill(process.pid, 'SIGKILL'))`;
      await n.node.run(nodeOfNodes, ['-e', bind]);
      assert.ok(n.node.exists(imageSocket), 'there is no stale socket');
      await n.node.systemctl('restart', 'kubelet.service');
      assert.equal(await n.kubelet.imageEndpoint(), undefined, 'kubelet was started with a stale socket');
      return 'kubelet started without the endpoint';
    },
  },
  {
    name: 'our container crashed',
    mode: 'pod',
    play: async (n) => {
      const pod = n.node.read('/run/kubelet-stand-in/image-service');
      await n.node.run('kill', ['-9', pod]);
      await expectDropped(n);
      assert.equal(await waitFor(() => n.answers(), 60_000), true, 'our pod did not come back');
      return 'the guard took the endpoint away; kubelet started our container';
    },
  },
  {
    name: 'our DaemonSet upgraded',
    mode: 'pod',
    play: async (n) => {
      const pid = await n.kubelet.mainPid();
      await n.startServicePod('image-service-next');
      n.kubelet.removePod('image-service');
      const isGone = () => !n.node.exists('/run/kubelet-stand-in/image-service');
      assert.equal(await waitFor(isGone, 20_000), true, 'the earlier pod stays');
      assert.equal(await n.answers(), true, 'the endpoint is gone with the earlier pod');
      assert.equal(await n.kubelet.mainPid(), pid, 'kubelet was restarted');
      return 'the next pod took the socket; kubelet was not restarted';
    },
  },
  {
    name: 'our DaemonSet deleted',
    mode: 'pod',
    play: async (n) => {
      n.kubelet.removePod('image-service');
      await expectDropped(n);
      return 'the guard took the endpoint away';
    },
  },
  {
    name: 'kubelet crash-looping with the endpoint',
    mode: 'none',
    play: async (n) => {
      const program = n.node.read('/usr/bin/kubelet');
      const crash = 'case "$*" in *--image-service-endpoint*) exit 1 ;; esac\n';
      n.node.write('/usr/bin/kubelet', program.replace('\n', `\n${crash}`));
      const { code, output } = await n.install();
      assert.equal(code, 1, 'it was installed');
      assert.equal(n.node.exists(dropIn), false, `the drop-in stays:\n${output}`);
      return 'rolled back by the installer';
    },
  },
  {
    name: 'installer killed, and nobody comes back',
    mode: 'none',
    play: async (n) => {
      const installing = n.install();
      const isRestarting = async () => (await n.kubelet.imageEndpoint()) === imageEndpoint;
      assert.equal(await waitFor(isRestarting, 60_000), true, 'kubelet is not restarted');
      await n.node.run('systemctl', ['kill', '--signal=KILL', 'kubelet-image-service-install.service']);
      assert.equal((await installing).code, 1);
      assert.equal(await n.becomes(undefined, 350_000), true, 'the rollback timer did nothing');
      assert.equal(await waitFor(() => !n.node.exists(dropIn), 10_000), true, 'the drop-in stays');
      return 'rolled back by the timer';
    },
  },
  {
    name: 'disk full',
    mode: 'none',
    play: async (n) => {
      const folders = [state, '/opt/kubelet-image-service/bin', '/etc/systemd/system/kubelet.service.d'];
      for (const folder of folders) {
        await n.node.run('mkdir', ['-p', folder]);
        succeeded(
          await n.node.run('mount', ['-t', 'tmpfs', '-o', 'size=8k,nr_inodes=16,mode=755', 'tmpfs', folder]),
        );
        await n.node.run('dd', ['if=/dev/zero', `of=${folder}/filler`, 'bs=4k']);
        const { code, output } = await n.install();
        assert.equal(code, 1, `it was installed on a full ${folder}`);
        // Where the result cannot be written either, only the journal of systemd tells it.
        assert.match(folder === state ? await n.said() : output, /ENOSPC/);
        assert.equal(await n.kubelet.imageEndpoint(), undefined, folder);
        succeeded(await n.node.run('umount', [folder]));
      }
      assert.equal(n.kubelet.starts(), 1, 'kubelet was restarted');
      await n.installed();
      return 'nothing stays of it; the next install works';
    },
  },
  {
    name: 'reboot',
    mode: 'host',
    play: async (n) => {
      await n.node.reboot();
      assert.equal(await n.becomes(imageEndpoint, 60_000), true, 'kubelet runs without the endpoint');
      return 'kubelet waited for the service, and started with it';
    },
  },
  {
    name: 'reboot with /etc lost',
    platform: 'gke-cos',
    mode: 'host',
    play: async (n) => {
      await n.node.reboot({ etcLost: true });
      assert.equal(await n.becomes(undefined, 60_000), true, 'kubelet runs with an endpoint');
      await n.installed();
      assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
      return 'kubelet started without us; the next install brought the endpoint back';
    },
  },
  {
    name: 'two installers at once',
    mode: 'none',
    play: async (n) => {
      const results = await Promise.all([n.install(), n.install()]);
      assert.deepEqual(results.map(({ code }) => code).sort(), [0, 1]);
      assert.match(results.find(({ code }) => code === 1)?.output ?? '', /another installer is at work/);
      assert.equal(n.kubelet.starts(), 2, 'kubelet was restarted more than once');
      return 'the second one says that the first is at work';
    },
  },
  {
    name: 'unit rewritten by the platform afterwards',
    mode: 'host',
    play: async (n) => {
      const platforms = '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf';
      const rewritten = n.node.read(platforms).replace(/ \$KUBELET_EXTRA_ARGS\n/, ' --v=4\n');
      n.node.write(platforms, rewritten);
      await n.node.systemctl('daemon-reload');
      await n.node.systemctl('restart', 'kubelet.service');
      assert.equal(await n.becomes(undefined, 30_000), true, 'kubelet does not run as the platform has it');
      await n.installed();
      const line = await n.kubelet.commandLine();
      assert.ok(
        line.includes('--v=4') && line.includes(`--image-service-endpoint=${imageEndpoint}`),
        line.join(' '),
      );
      assert.equal(n.node.read(platforms), rewritten);
      return 'kubelet ran without us; the next install goes with the new unit';
    },
  },
  {
    name: 'executable deleted, and kubelet restarted',
    mode: 'host',
    play: async (n, around) => {
      // It would take the endpoint away before this is looked at.
      await n.node.systemctl('stop', 'kubelet-image-service-guard.timer');
      n.node.remove(executable);
      // The service runs from the deleted file.
      assert.notEqual(
        await n.kubelet.startPod(await around.newImage('private')),
        undefined,
        'no pod can be started',
      );
      await n.node.systemctl('kill', '--signal=KILL', 'kubelet-image-service.service');
      await n.node.run('systemctl', ['restart', 'kubelet.service']);
      assert.equal(await n.becomes(undefined, 60_000), true, 'kubelet runs with a dead endpoint');
      await n.installed();
      return 'kubelet started without the endpoint; the next install works';
    },
  },
  {
    name: 'executable deleted, kubelet goes on running, service dead',
    mode: 'host',
    play: async (n) => {
      const starts = n.kubelet.starts();
      n.node.remove(executable);
      await n.node.systemctl('kill', '--signal=KILL', 'kubelet-image-service.service');
      await expectDropped(n);
      // Another look of the guard later: there is nothing to drop any more.
      const isLookedAt = async () => {
        const { output } = await n.node.run('systemctl', [
          'show',
          '--property=ConditionResult',
          'kubelet-image-service-lost.service',
        ]);
        return output.includes('ConditionResult=no');
      };
      assert.equal(await waitFor(isLookedAt, guardTime), true, 'the guard is not started again');
      assert.equal(n.kubelet.starts(), starts + 1, 'kubelet was restarted more than once');
      await n.installed();
      assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint);
      return 'kubelet was restarted without the endpoint, once; the next install works';
    },
  },
];

test('faults', { concurrency: true }, async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace);
  const outcomes = new Map<string, string>();

  const turns = new Turns(4);
  const played = faults.map((fault, at) =>
    t.test(fault.name, () =>
      turns.take(async () => {
        outcomes.set(fault.name, 'FAILED');
        const outcome = await play(fault, `n${at}`, around);
        outcomes.set(fault.name, outcome);
      }),
    ),
  );
  const runtimeDown = t.test('runtime down', () =>
    turns.take(async () => {
      outcomes.set('runtime down', 'FAILED');
      outcomes.set('runtime down', await playRuntimeDown(around));
    }),
  );
  await Promise.all([...played, runtimeDown]);
  printTable(t, outcomes);
});

async function play(fault: Fault, name: string, around: NodeSurroundings): Promise<string> {
  const { platform, mode } = fault;
  const n = await InstalledNode.start(around, { name, ...(platform && { platform }) });
  if (mode === 'pod') await n.startServicePod();
  if (mode !== 'none') await n.installed('--mode', mode);
  const outcome = await fault.play(n, around).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await n.said()}`, { cause: error });
  });
  await expectPods(n, around);
  await n.node.close();
  return outcome;
}

/** What all faults have to end with. */
async function expectPods(n: InstalledNode, around: NodeSurroundings): Promise<void> {
  assert.equal(await n.kubelet.isHealthy(60_000), true, 'kubelet does not run in the end');
  assert.notEqual(
    await n.kubelet.startPod(await around.newImage('open')),
    undefined,
    'kubelet starts no pod in the end',
  );
}

/** With a runtime of its own: the others need theirs. */
async function playRuntimeDown(around: NodeSurroundings): Promise<string> {
  const { workspace } = around;
  const containerd = await startCriContainerd(workspace, { name: 'other' });
  const config = workspace
    .read('configuration/config.yaml')
    .replaceAll(around.containerd.socket, containerd.socket);
  workspace.file('other-configuration/alice-password', workspace.read('configuration/alice-password'));
  const own = { ...around, containerd, config: workspace.file('other-configuration/config.yaml', config) };
  const n = await InstalledNode.start(own, { name: 'runtime-down' });
  await n.installed();
  await containerd.kill();
  assert.equal(
    await waitFor(async () => !(await n.answers()), 20_000),
    true,
    'the endpoint answers without a runtime',
  );
  await n.node.run('systemctl', ['restart', 'kubelet.service']);
  await containerd.start();
  await expectPods(n, own);
  await n.node.close();
  return 'kubelet runs again when the runtime does';
}

/** As many nodes at once as a small machine bears. */
class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  async take(work: () => Promise<void>): Promise<void> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

function printTable(t: TestContext, outcomes: ReadonlyMap<string, string>): void {
  const width = Math.max(...[...outcomes.keys()].map((name) => name.length));
  for (const [name, outcome] of outcomes) t.diagnostic(`${name.padEnd(width)}  ${outcome}`);
}
