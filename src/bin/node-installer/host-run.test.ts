import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type Systemd,
  type TransientService,
  UnitExistsError,
  type UnitState,
} from '../../contracts/node.js';
import { type InstallResult, writeResult } from '../../node-installer/result.js';
import { HostFiles } from './host-files.js';
import { BusyError, type HostRun, runOnHost } from './host-run.js';
import { stage } from './staging.js';
import { stay } from './stay.js';

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'drp-host-run-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const result = (more: Partial<InstallResult> = {}): InstallResult => ({
  ...{ verdict: 'installed', reasons: [], done: [], kept: [], isKubeletRestarted: true },
  ...{ run: '', command: 'install', version: '1', at: '2026-01-01T00:00:00.000Z' },
  ...more,
});

describe('a run on the host', () => {
  const state = '/var/lib/kubelet-image-service';
  const host: HostRun = {
    ...{ command: 'install', executable: '/opt/x', stateDirectory: state, words: ['--mode', 'host'] },
  };

  /** A systemd whose unit is at work for some looks. */
  function parts(t: TestContext, work: (service: TransientService) => Promise<void>) {
    const files = new HostFiles(directoryOf(t));
    const states: Partial<UnitState>[] = [{ activeState: 'activating' }, { activeState: 'active' }];
    const systemd = {
      resetFailed: async () => {
        throw new Error('not loaded');
      },
      startTransient: work,
      unit: async () => {
        const next = states.shift();
        if (states.length === 1) throw new Error('the connection is gone');
        return next ?? { activeState: 'inactive', result: 'success', loadState: 'not-found' };
      },
    } as unknown as Systemd;
    return { files, systemd, clock: { now: () => 0, sleep: async () => {} } };
  }

  test('is started by its name, waited for, and tells what became of it', async (t) => {
    const started: TransientService[] = [];
    const given = parts(t, async (service) => {
      started.push(service);
      const run = service.command[service.command.indexOf('--run') + 1] ?? '';
      await writeResult(given.files, state, result({ run }));
    });
    assert.equal((await runOnHost(host, given)).verdict, 'installed');
    assert.equal(started[0]?.name, 'kubelet-image-service-install.service');
    assert.equal(started[0]?.timeLimit, 15 * 60_000, 'a hanging one would turn the guard off');
    const { command = [] } = started[0] ?? {};
    assert.deepEqual(
      [...command.slice(0, 4), ...command.slice(5)],
      [...['/opt/x', 'install', '--inside', '--run'], ...['--state', state, '--mode', 'host']],
    );
  });

  test('beside another one: told, and nothing is started', async (t) => {
    const given = parts(t, async () => {
      throw new UnitExistsError('exists');
    });
    await assert.rejects(runOnHost(host, given), BusyError);
  });

  test('that ends without a result, where an older one lies: told', async (t) => {
    const given = parts(t, async () => {});
    await writeResult(given.files, state, result({ run: 'older' }));
    await assert.rejects(runOnHost(host, given), {
      message: /ended without a result \(success\); see journalctl/,
    });
  });
});

describe('what is copied to the node', () => {
  function node(t: TestContext) {
    const directory = directoryOf(t);
    const executable = join(directory, 'executable');
    writeFileSync(executable, 'ours', { mode: 0o755 });
    const nodeDirectory = join(directory, 'node');
    const places = ['home/kubernetes/bin', 'home/kubernetes/kubelet-image-service'];
    for (const one of places) mkdirSync(join(nodeDirectory, one), { recursive: true });
    return { nodeDirectory, executable };
  }

  test('the executable beside the installed one, the configuration for its owner alone, and nothing twice', async (t) => {
    const { nodeDirectory, executable } = node(t);
    const files = new Map([
      ['config.yaml', 'x'],
      ['password', 'y'],
    ]);
    const staged = await stage({ nodeDirectory, executable, configuration: { name: 'config.yaml', files } });
    assert.equal(staged.executable, '/home/kubernetes/bin/kubelet-image-service-installer');
    assert.equal(staged.configuration, '/home/kubernetes/kubelet-image-service/incoming/config.yaml');
    const copied = join(nodeDirectory, staged.executable);
    const before = statSync(copied);
    assert.deepEqual([readFileSync(copied, 'utf8'), before.mode & 0o777], ['ours', 0o755]);
    assert.equal(statSync(join(nodeDirectory, String(staged.configuration))).mode & 0o777, 0o600);
    const fewer = { name: 'config.yaml', files: new Map([['config.yaml', 'x']]) };
    await stage({ nodeDirectory, executable, configuration: fewer });
    assert.deepEqual(readdirSync(join(nodeDirectory, 'home/kubernetes/kubelet-image-service/incoming')), [
      'config.yaml',
    ]);
    assert.equal(statSync(copied).ino, before.ino, 'it is the same file');
  });
});

describe('--stay', () => {
  /** Runs as often as there are outcomes. @returns whether it was ready after each */
  async function readiness(t: TestContext, outcomes: readonly (() => Promise<InstallResult>)[]) {
    const readyFile = join(directoryOf(t), 'ready');
    writeFileSync(readyFile, 'of an earlier process');
    const stop = new AbortController();
    const seen: boolean[] = [];
    let [stdout, turn] = ['', 0];
    const own = {
      stdout: {
        write: (text: string) => {
          stdout += text;
        },
      },
      stderr: { write: () => {} },
    };
    const run = async () => {
      seen.push(existsSync(readyFile));
      const outcome = outcomes[turn++];
      if (turn === outcomes.length) stop.abort();
      return (outcome ?? (async () => result()))();
    };
    const clock = { now: () => 0, sleep: async () => {} };
    await stay({ readyFile, run, clock, stop: stop.signal }, own);
    return { seen: [...seen.slice(1), existsSync(readyFile)], first: seen[0], stdout };
  }

  test('is ready after a run that was verified, not after one that failed, and as before beside another', async (t) => {
    const fine = async () => result();
    const busy = async () => {
      throw new BusyError(undefined);
    };
    const failed = async () => result({ verdict: 'rolled back', reasons: ['kubelet is not healthy'] });
    const broken = async () => {
      throw new Error('systemd cannot be asked');
    };
    const { first, seen, stdout } = await readiness(t, [busy, fine, fine, busy, failed, fine, broken]);
    assert.equal(first, false, 'what an earlier process has left counts');
    assert.deepEqual(seen, [false, true, true, true, false, true, false]);
    assert.equal(stdout.split('install: installed').length - 1, 2, 'what does not change is told once');
    assert.match(stdout, /install: rolled back\n {2}kubelet is not healthy\n/);
    assert.match(stdout, /systemd cannot be asked\n$/);
  });
});
