import { cpSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandResult, run, succeeded } from './command.js';
import type { Dockerd } from './dockerd.js';
import type { Workspace } from './workspace.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const suite = 'bookworm';

/** What our images are built of, made of Debian's and npm's own packages: there is no registry to take them from. */
export interface ImageBases {
  /** Debian and nothing else. */
  readonly runtime: string;
  /** The same with Node.js, npm, and all packages of package-lock.json in npm's cache: it asks no network. */
  readonly build: string;
  /** The file that is Node.js there, on this machine. */
  readonly node: string;
}

/** Milliseconds that a mirror gets for all of it. */
const patience = 240_000;

/** @throws an Error where Debian's mirror or npm's registry cannot be reached */
export async function makeImageBases(workspace: Workspace, dockerd: Dockerd): Promise<ImageBases> {
  const tags = { runtime: 'base:runtime', build: 'base:build' };
  const stage = 'base-node';
  const [node] = await Promise.all([
    installNode(workspace),
    importDebian(workspace, dockerd, tags.runtime),
    addNpm(workspace, stage),
  ]);
  cpSync(node, workspace.path(stage, 'usr/local/bin/node'));
  const lines = [`FROM ${tags.runtime}`, 'COPY . /', 'ENV NPM_CONFIG_OFFLINE=true', ''];
  const file = workspace.file('base-node.Dockerfile', lines.join('\n'));
  succeeded(await dockerd.docker(['build', '-f', file, '-t', tags.build, workspace.path(stage)]));
  return { ...tags, node };
}

/** As slim images leave them out. */
const left = [
  'dev/*',
  'var/cache/*',
  'var/lib/apt/lists/*',
  ...['doc', 'man', 'locale', 'info'].map((name) => `usr/share/${name}/*`),
];

async function importDebian(workspace: Workspace, dockerd: Dockerd, tag: string): Promise<void> {
  const directory = workspace.path('debian');
  const debootstrap = ['--variant=minbase', suite, directory, await mirror(workspace)];
  succeeded(await run('debootstrap', debootstrap, { env: workspace.environment(), timeout: patience }));
  const excluded = left.map((pattern) => `--exclude='./${pattern}'`).join(' ');
  succeeded(await dockerd.shell(`tar -C "$1" ${excluded} -cf - . | docker import - "$2"`, directory, tag));
}

/** Where this machine gets its own packages. */
async function mirror(workspace: Workspace): Promise<string> {
  const format = ['--format', '$(ORIGIN) $(CODENAME) $(REPO_URI)', 'Created-By: Packages'];
  const { stdout } = await run('apt-get', ['indextargets', ...format], { env: workspace.environment() });
  const line = stdout.split('\n').find((text) => text.startsWith(`Debian ${suite} http`));
  return line?.split(' ')[2] ?? 'http://deb.debian.org/debian/';
}

/** Takes Node.js itself from the package that brings it. @returns the file */
async function installNode(workspace: Workspace): Promise<string> {
  const prefix = workspace.path('node-package');
  const options = ['--no-save', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'];
  const name = `node-linux-${process.arch}`;
  succeeded(await npm(workspace, ['install', '--prefix', prefix, ...options, `${name}@24`]));
  return join(prefix, 'node_modules', name, 'bin/node');
}

/** The npm that runs here, and a cache with what `npm ci` will ask for. */
async function addNpm(workspace: Workspace, stage: string): Promise<void> {
  const { PATH = '' } = workspace.environment();
  const paths = PATH.split(':').map((directory) => join(directory, 'npm'));
  const script = paths.map(realPath).find((path) => path?.endsWith('/bin/npm-cli.js'));
  if (script === undefined) throw new Error('npm is not in PATH');
  cpSync(dirname(dirname(script)), workspace.path(stage, 'usr/local/lib/npm'), { recursive: true });
  mkdirSync(workspace.path(stage, 'usr/local/bin'), { recursive: true });
  symlinkSync('../lib/npm/bin/npm-cli.js', workspace.path(stage, 'usr/local/bin/npm'));
  for (const name of ['package.json', 'package-lock.json']) {
    workspace.file(`packages/${name}`, readFileSync(join(root, name), 'utf8'));
  }
  const options = [
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--cache',
    workspace.path(stage, 'root/.npm'),
  ];
  succeeded(await npm(workspace, ['ci', '--prefix', workspace.path('packages'), ...options]));
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** With the user's own settings: the registry of the house may be in them. */
function npm(workspace: Workspace, args: readonly string[]): Promise<CommandResult> {
  return run('npm', args, { env: process.env, cwd: workspace.directory, timeout: patience });
}
