// npm run executable [-- --arch x64|arm64] [--node FILE] [--host-node FILE] [--commit TEXT] [--out DIRECTORY]
//
// Makes dist/executable/kubelet-image-service-linux-ARCH: one file with Node.js and all of `kubelet-image-service` in it,
// which needs nothing but glibc, libstdc++ and libgcc (https://nodejs.org/api/single-executable-applications.html). Beside
// it, its .sha256.
//
// --node       the node binary it is made of; without it, npm's node-linux-ARCH
// --host-node  for another machine's executable: one of the same version that runs here; without it, npm's
// --commit     what `--version` names; without it, what git says
//
// Needs strip of binutils; for another machine's executable Debian's binutils-aarch64-linux-gnu (x86-64-linux-gnu).
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './executable/bundle.mjs';
import { givenNode, installedNode, major } from './executable/node-binary.mjs';
import { root } from './prepare.mjs';

/** What Node.js looks for in itself, and which postject changes. */
const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
/** As GNU names them. */
const machineNames = { x64: 'x86_64', arm64: 'aarch64' };

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: process.arch },
    node: { type: 'string' },
    'host-node': { type: 'string' },
    commit: { type: 'string' },
    out: { type: 'string', default: join(root, 'dist/executable') },
  },
});
const { arch, out } = values;
if (process.platform !== 'linux' || machineNames[arch] === undefined) {
  fail(`--arch: expected ${Object.keys(machineNames).join(' or ')}, on Linux`);
}
const isNative = arch === process.arch;

const work = mkdtempSync(join(tmpdir(), 'drp-executable-'));
try {
  const { host, target } = nodes();
  writeFileSync(join(work, 'kubelet-image-service.js'), await bundle(values.commit ?? commitOfGit()));
  const blob = preparedBlob(host.path);
  const made = join(work, 'executable');
  copyFileSync(target.path, made);
  chmodSync(made, 0o755);
  // Before the injection: afterwards `strip` would take the blob for rubbish, or break the file.
  run(stripProgram(), [made]);
  run(process.execPath, [postject(), made, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse]);
  publish(made, `kubelet-image-service-linux-${arch}`, target.version);
} catch (error) {
  rmSync(work, { recursive: true });
  fail(error.message);
}
rmSync(work, { recursive: true });

/** `host` prepares what is put into `target`; both have the same version, for the blob is Node's own affair. */
function nodes() {
  if (isNative) {
    const target = values.node ? givenNode(values.node, arch) : installedNode(arch, major, work);
    return { host: target, target };
  }
  const known = values.node === undefined ? undefined : givenNode(values.node, arch);
  const host = values['host-node']
    ? givenNode(values['host-node'], process.arch)
    : installedNode(process.arch, known?.version ?? major, work);
  const target = known ?? installedNode(arch, host.version, work);
  if (host.version !== target.version) {
    throw new Error(`--host-node has version ${host.version}, --node ${target.version}: expected the same`);
  }
  return { host, target };
}

/** @returns the file */
function preparedBlob(node) {
  const configuration = {
    // Relative: it becomes part of the blob.
    main: 'kubelet-image-service.js',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    // V8 would refuse one that was made by another machine's Node.
    useCodeCache: isNative,
    // NODE_OPTIONS of whoever starts it are not for us.
    execArgvExtension: 'none',
  };
  writeFileSync(join(work, 'sea.json'), JSON.stringify(configuration));
  // V8's hashes are seeded by chance otherwise, and the code cache has their order.
  run(node, ['--random-seed=42', '--experimental-sea-config', 'sea.json']);
  return join(work, 'blob');
}

function stripProgram() {
  return isNative ? 'strip' : `${machineNames[arch]}-linux-gnu-strip`;
}

function postject() {
  return createRequire(import.meta.url).resolve('postject/dist/cli.js');
}

/** Puts it where it belongs, whole from the first moment, with its checksum as `sha256sum --check` wants it. */
function publish(made, name, nodeVersion) {
  const to = resolve(out, name);
  mkdirSync(out, { recursive: true });
  const bytes = readFileSync(made);
  writeFileSync(`${to}.new`, bytes, { mode: 0o755 });
  renameSync(`${to}.new`, to);
  const digest = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(`${to}.sha256`, `${digest}  ${basename(to)}\n`);
  console.log(`${to}: ${(bytes.length / 2 ** 20).toFixed(1)} MiB, Node.js ${nodeVersion}`);
}

function commitOfGit() {
  const { status, stdout } = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.slice(0, 7) : 'unknown';
}

/** What it says is shown where it fails: postject warns of the sections that `strip` left. */
function run(command, args) {
  const env = { ...process.env, NODE_OPTIONS: '' };
  try {
    execFileSync(command, args, { cwd: work, env, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    throw new Error(`${command}: ${error.code ?? ''} ${error.stdout ?? ''}${error.stderr ?? ''}`.trim());
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
