import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { InstallMode } from '../../node-installer/node.js';
import type { InstallResult } from '../../node-installer/result.js';
import { CommandFailure } from '../command-failure.js';
import { HostFiles } from './host-files.js';
import { AtWorkError, BusyError, type HostRun } from './host-run.js';
import { type Host, installOnce, uninstallOnce } from './run-command.js';

const incoming = '/home/kubernetes/kubelet-image-service/incoming';
const brought = '/home/kubernetes/bin/kubelet-image-service-installer';

const result = (verdict: InstallResult['verdict']): InstallResult => ({
  ...{ verdict, reasons: [], done: [], kept: [], isKubeletRestarted: true },
  ...{ run: '', command: 'install', version: '1', at: '2026-01-01T00:00:00.000Z' },
});

/** A node's directories as a container sees them, and a configuration with a secret beside it. */
function place(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'drp-run-command-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const nodeDirectory = join(directory, 'node');
  const put = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  };
  for (const one of [dirname(brought), dirname(incoming)])
    mkdirSync(join(nodeDirectory, one), { recursive: true });
  const runtime = 'runtime: { type: cri, endpoint: unix:///run/containerd/containerd.sock }\n';
  const config = put(join(directory, 'own/config.yaml'), `${runtime}images: []\n`);
  put(join(directory, 'own/password'), 'not-for-anybody');
  const executable = put(join(directory, 'executable'), 'ours');
  const options = (mode: InstallMode) => ({
    ...{ mode, config, executable, nodeDirectory, root: '/', chain: false, allow: [] },
    socket: '/run/kubelet-image-service/image.sock',
  });
  /** What is on the node, as long as a run is at work, and after it. */
  const seen: { during: readonly string[] | undefined; words: readonly string[] } = {
    during: undefined,
    words: [],
  };
  const staged = () => filesIn(join(nodeDirectory, incoming));
  const host = (work: () => Promise<InstallResult>): Host => ({
    files: new HostFiles(nodeDirectory),
    run: async ({ words }: HostRun) => {
      Object.assign(seen, { during: staged(), words });
      return work();
    },
  });
  return {
    nodeDirectory,
    options,
    host,
    seen,
    staged,
    put: (path: string) => put(join(nodeDirectory, path), 'x'),
  };
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

const all = ['config.yaml', 'password'];

describe('a configuration on its way to the node', () => {
  const rows: readonly {
    readonly what: string;
    readonly mode?: InstallMode;
    readonly during?: readonly string[];
    readonly after?: readonly string[];
    readonly work: () => Promise<InstallResult>;
    readonly error?: typeof CommandFailure;
  }[] = [
    { what: 'is there for a run, and gone after it', work: async () => result('installed') },
    { what: 'is gone after one that failed', work: async () => result('failed') },
    {
      what: 'is gone after one that told nothing',
      work: async () => Promise.reject(new CommandFailure('no result', 1)),
      error: CommandFailure,
    },
    {
      what: 'stays where the run is still at work',
      work: async () => Promise.reject(new AtWorkError('still at work', 1)),
      error: AtWorkError,
      after: all,
    },
    {
      what: 'stays where another one is at work',
      work: async () => Promise.reject(new BusyError(undefined)),
      error: BusyError,
      after: all,
    },
    {
      what: 'is needed by credential-provider mode too',
      mode: 'credential-provider',
      work: async () => result('installed'),
    },
    {
      what: 'never goes there in pod mode',
      mode: 'pod',
      during: [],
      work: async () => result('installed'),
    },
  ];
  for (const { what, mode = 'host', during = all, after = [], work, error } of rows) {
    test(what, async (t) => {
      const { options, host, seen, staged } = place(t);
      const run = installOnce(options(mode), host(work));
      if (error === undefined) await run;
      else await assert.rejects(run, error);
      assert.deepEqual(seen.during, during);
      assert.deepEqual(staged(), after);
      assert.equal(seen.words.includes('--config'), mode !== 'pod', seen.words.join(' '));
    });
  }

  test('what an earlier run has left goes, in pod mode too', async (t) => {
    const { options, host, staged, put } = place(t);
    put(`${incoming}/password`);
    await installOnce(
      options('pod'),
      host(async () => result('nothing to do')),
    );
    assert.deepEqual(staged(), []);
  });
});

describe('uninstalling', () => {
  const elsewhere = '/srv/own/kubelet-image-service-installer';

  function leave({ put }: ReturnType<typeof place>) {
    for (const path of [brought, `${incoming}/password`, `${incoming}/config.yaml`, elsewhere]) put(path);
    put('/var/lib/kubelet-image-service/incoming/password');
    put('/home/kubernetes/bin/kubelet');
  }

  const filesOf = (directory: string) =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(directory.length));

  for (const way of ['by hand', 'by a container'] as const) {
    test(`${way}: nothing stays that was ever brought to the node`, async (t) => {
      const node = place(t);
      leave(node);
      const { nodeDirectory, executable } = node.options('host');
      const options = {
        ...{ executable, directory: '/srv/own' },
        ...(way === 'by a container' && { nodeDirectory }),
      };
      await uninstallOnce(
        options,
        node.host(async () => result('uninstalled')),
      );
      assert.deepEqual(filesOf(nodeDirectory), ['/home/kubernetes/bin/kubelet']);
    });
  }

  test('by hand, where it failed: all stays for the next time', async (t) => {
    const node = place(t);
    leave(node);
    const { nodeDirectory, executable } = node.options('host');
    const before = filesOf(nodeDirectory);
    await uninstallOnce(
      { executable },
      node.host(async () => result('failed')),
    );
    assert.deepEqual(filesOf(nodeDirectory), before);
  });

  test('by hand: the directory that the journal names', async (t) => {
    const node = place(t);
    node.put(elsewhere);
    const { nodeDirectory, executable } = node.options('host');
    const journal = '/home/kubernetes/kubelet-image-service/journal.json';
    const installed = {
      mode: 'host',
      socket: '/x',
      unit: 'kubelet.service',
      version: '1',
      directory: '/srv/own',
    };
    writeFileSync(join(nodeDirectory, journal), JSON.stringify({ version: 1, record: {}, installed }));
    await uninstallOnce(
      { executable },
      node.host(async () => result('uninstalled')),
    );
    assert.deepEqual(filesOf(nodeDirectory), [journal]);
  });
});
