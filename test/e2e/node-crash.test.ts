import assert from 'node:assert/strict';
import { test } from 'node:test';
import { succeeded } from './harness/command.js';
import {
  InstalledNode,
  imageEndpoint,
  type NodeSurroundings,
  startSurroundings,
} from './harness/installed-node.js';
import { requirePrograms } from './harness/require-programs.js';
import { requireSystemd } from './harness/require-systemd.js';
import { openWorkspace } from './harness/workspace.js';

// The installer is killed after each entry of its journal, one node for some of them. Kubelet runs and starts pods at
// once, and the next run, an install or an uninstall, finishes what was begun.

/** Kills its own process when the journal was renamed to its place for the n-th time, n being in a file of the node. */
const prelude = `{
  const promises = require('node:fs/promises');
  const { readFileSync, writeFileSync } = require('node:fs');
  const { rename } = promises;
  let entries = 0;
  promises.rename = async (from, to) => {
    await rename(from, to);
    if (!to.endsWith('/journal.json')) return;
    let last;
    try { last = Number(readFileSync('/run/die-after', 'utf8')); } catch { return; }
    entries += 1;
    if (entries < last) return;
    writeFileSync('/run/died', '');
    process.kill(process.pid, 'SIGKILL');
  };
}`;

const nodes = 4;

test('the installer is killed after each entry of its journal', { concurrency: nodes }, async (t) => {
  if (!requireSystemd(t) || !requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const around = await startSurroundings(workspace, prelude);
  const played = Array.from({ length: nodes }, (_, at) =>
    t.test(`the entries ${at + 1}, ${at + 1 + nodes}, …`, async (sub) => {
      const n = await InstalledNode.start(around, { name: `n${at}` });
      let deaths = 0;
      for (let entry = at + 1; await dies(n, around, entry); entry += nodes) deaths += 1;
      sub.diagnostic(`killed ${deaths} times`);
      assert.ok(deaths > 0, 'the installer was not killed');
    }),
  );
  await Promise.all(played);
});

/** @returns false where there are no so many entries */
async function dies(n: InstalledNode, around: NodeSurroundings, entry: number): Promise<boolean> {
  const before = n.kubelet.disk();
  n.node.remove('/run/died');
  n.node.write('/run/die-after', String(entry));
  const { code } = await n.install();
  n.node.remove('/run/die-after');
  if (!n.node.exists('/run/died')) return false;
  const when = `killed after the entry ${entry}`;
  assert.equal(code, 1, `${when}: it says that it was installed`);
  assert.equal(await n.kubelet.isHealthy(20_000), true, `${when}: kubelet does not run`);
  assert.notEqual(
    await n.kubelet.startPod(await around.newImage('open')),
    undefined,
    `${when}: no pod can be started`,
  );
  // Each node has one of both ways for half of its entries.
  if (Math.floor(entry / nodes) % 2 === 0) {
    await n.installed();
    assert.equal(await n.kubelet.imageEndpoint(), imageEndpoint, `${when}: the next install did not finish`);
  }
  succeeded(await n.uninstall());
  assert.deepEqual(n.kubelet.disk(), before, `${when}: the disk is not as it was`);
  assert.equal(await n.kubelet.imageEndpoint(), undefined, when);
  assert.equal(await n.kubelet.isHealthy(20_000), true, `${when}: kubelet does not run in the end`);
  return true;
}
