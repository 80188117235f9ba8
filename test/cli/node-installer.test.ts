import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addImageServiceCommands } from '../../src/bin/image-service/commands.js';
import { nodeTrees } from '../../src/testing/node-trees.js';
import { lastFirst } from '../harness/index.js';
import { runInProcess } from './in-process.js';
import { TreeNode } from './node-tree.js';

const dropIn = '/etc/systemd/system/kubelet.service.d/90-kubelet-image-service.conf';

describe('plan', () => {
  test('what can be installed: verdict and diffs, nothing changed, exit code 0', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    const before = node.files();
    for (const args of [['plan'], ['install', '--dry-run']] as const) {
      const [command, ...more] = args;
      const ended = await node.install(command, ...more);
      assert.deepEqual([ended.code, ended.stderr], [0, '']);
      assert.match(ended.stdout, /^verdict: install\n/);
      assert.match(ended.stdout, new RegExp(`^\\+\\+\\+ ${dropIn}$`, 'm'));
      assert.deepEqual(node.files(), before);
    }
  });

  test('what is refused: the reason, and exit code 1', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.bottlerocket);
    const before = node.files();
    for (const command of ['plan', 'install'] as const) {
      const ended = await node.install(command);
      assert.equal(ended.code, 1);
      assert.match(ended.stdout, /^verdict: refused\n {2}Bottlerocket/);
    }
    assert.deepEqual(node.files(), before);
  });

  test('what a copy of the configuration holds is not shown', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    node.configure('hunter2', 'password');
    const { code, stdout } = await node.install('plan');
    assert.equal(code, 0);
    assert.match(stdout, /config\/password/);
    assert.ok(!stdout.includes('hunter2'), 'the secret is shown');
  });

  for (const [what, args, expected] of [
    ['an unknown mode', ['--mode', 'x'], /--mode/],
    ['a socket that is no path', ['--socket', 'image.sock'], /--socket: expected a path/],
    ['a directory that is relative', ['--directory', 'bin'], /--directory: expected an absolute path/],
    ['another socket than listens', ['--socket', '/run/x.sock'], /listen: is unix:.*expected the same/],
    ['a configuration that is not there', ['--config', '/nonexistent/c.yaml'], /cannot be read/],
    ['a name that says more in a unit', ['--config', '/etc/a$b %n.yaml'], /--config: expected the name/],
    ['a kind of code that nobody knows', ['--allow', 'x'], /--allow/],
  ] as const) {
    test(`${what}: exit code 2`, async (t) => {
      const ended = await new TreeNode(lastFirst(t), nodeTrees.kubeadm).install('plan', ...args);
      assert.equal(ended.code, 2, ended.stderr);
      assert.match(ended.stderr, expected);
    });
  }

  test('no configuration: a pod has its own, the other modes need one', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    const plan = (mode: string) =>
      node.run('plan', '--root', node.root, '--executable', node.executable, '--mode', mode);
    assert.equal((await plan('pod')).code, 0);
    for (const mode of ['host', 'credential-provider']) {
      const ended = await plan(mode);
      assert.equal(ended.code, 2);
      assert.match(ended.stderr, /^--config: is missing/);
    }
  });

  for (const mode of ['host', 'pod', 'credential-provider']) {
    test(`programs and modules have to be allowed: mode ${mode}`, async (t) => {
      const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
      const source = 'credentials: { type: exec, protocol: docker-credential-helper, command: [x] }';
      node.configure(`images: [{ match: a.example.com/**, ${source} }]\n`);
      const refused = await node.install('plan', '--mode', mode);
      assert.equal(refused.code, 2);
      assert.match(
        refused.stderr,
        /config\.yaml:2:\d+: images\[0\]\.credentials\.type: .*--allow exec lets it\n$/,
      );
      const allowed = await node.install('plan', '--mode', mode, '--allow', 'exec');
      assert.equal(allowed.code, 0, allowed.stderr);
      if (mode !== 'pod') assert.match(allowed.stdout, /--allow exec/);
    });
  }
});

describe('install and uninstall below a root', () => {
  for (const [name, mode] of [
    ['kubeadm', 'host'],
    ['kubeadm', 'credential-provider'],
    ['gke-cos', 'pod'],
    ['k3s', 'credential-provider'],
  ] as const) {
    test(`${name}, mode ${mode}: twice is once, and nothing of it is left`, async (t) => {
      const node = new TreeNode(lastFirst(t), nodeTrees[name]);
      const before = node.files();
      const first = await node.install('install', '--mode', mode);
      assert.equal(first.code, 0, first.stderr);
      assert.match(first.stdout, /systemd was not asked, and nothing was started or verified/);
      const installed = node.files();
      for (const [path, text] of Object.entries(before)) assert.equal(installed[path], text, path);
      const second = await node.install('install', '--mode', mode);
      assert.match(second.stdout, /^verdict: nothing to do\n/);
      assert.deepEqual(node.files(), installed);
      const ended = await node.uninstall();
      assert.equal(ended.code, 0, ended.stderr);
      assert.deepEqual(node.files(), before);
    });
  }

  test('lines that somebody adds to our drop-in stay', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    await node.install('install');
    const theirs = '[Service]\nNice=-5\n';
    node.write(dropIn, (node.files()[dropIn] ?? '') + theirs);
    assert.match((await node.install('install')).stdout, /^verdict: nothing to do\n/);
    assert.equal((await node.uninstall()).code, 0);
    assert.equal(node.files()[dropIn], theirs);
  });

  for (const [args, expected] of [
    [['--root', '/x', '--node-directory', '/node'], /--root and --node-directory: expected one of them/],
    [['--ready-file', '/x'], /--ready-file: expected --stay/],
    [['--stay', '--dry-run'], /--stay: expected neither/],
  ] as const) {
    test(`${args.join(' ')}: exit code 2`, async (t) => {
      const ended = await new TreeNode(lastFirst(t), {}).run('uninstall', ...args);
      assert.equal(ended.code, 2);
      assert.match(ended.stderr, expected);
    });
  }

  test('a program that Node runs is not copied to a node', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    const ended = await node.run('install', '--root', node.root, '--config', node.config);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /expected the self-contained executable/);
  });

  test('a node directory that is not mounted', async (t) => {
    const node = new TreeNode(lastFirst(t), {});
    const args = ['--config', node.config, '--executable', node.executable, '--node-directory', node.root];
    const ended = await node.run('install', ...args);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /^--node-directory: expected the node's \/\S+ and \/\S+/);
  });
});

describe('status of a node', () => {
  const status = (node: TreeNode, ...args: readonly string[]) =>
    runInProcess(addImageServiceCommands, ['status', '--root', node.root, ...args]);

  test('in credential-provider mode there is no service to ask', async (t) => {
    const node = new TreeNode(lastFirst(t), nodeTrees.kubeadm);
    await node.install('install', '--mode', 'credential-provider');
    node.write(dropIn, (node.files()[dropIn] ?? '').replace('[Service]', '[Service]\nNice=1'));
    const { code, stdout } = await status(node);
    assert.equal(code, 0);
    assert.match(stdout, /^node: .*, mode credential-provider, installed by /);
    assert.match(stdout, /^kubelet: kubelet\.service /m);
    assert.match(stdout, new RegExp(`^ {2}${dropIn}: changed by somebody$`, 'm'));
    const { node: report } = JSON.parse((await status(node, '--json')).stdout);
    assert.equal(report.mode, 'credential-provider');
    assert.equal(report.kubelet.hasFlag, false);
    assert.equal(typeof report.kubelet.reason, 'string');
  });

  test('kubelet runs with our endpoint', async (t) => {
    const tree = nodeTrees.kubeadm;
    const node = new TreeNode(lastFirst(t), tree);
    await node.install('install');
    const process = Object.keys(tree).find(
      (path) => path.endsWith('/cmdline') && String(tree[path]).includes('kubelet'),
    );
    assert.ok(process !== undefined, 'the tree has no kubelet');
    const flag = '--image-service-endpoint=unix:///run/kubelet-image-service/image.sock';
    node.write(process, `${tree[process]}${flag}\0`);
    const { code, stdout, stderr } = await status(node);
    assert.match(stdout, /^kubelet: kubelet\.service runs \(\d+\), with our arguments$/m);
    // Nothing answers at the usual place here; the node's part was told all the same.
    assert.equal(code, 1, stderr);
  });

  test('where nothing is installed it is as without a node', async (t) => {
    const { stdout, code } = await status(new TreeNode(lastFirst(t), nodeTrees.kubeadm));
    assert.deepEqual([stdout, code], ['', 1]);
  });
});
