import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { addNodeInstallerCommands } from '../../src/bin/node-installer/commands.js';
import type { NodeTree } from '../../src/testing/node-trees.js';
import type { Scope } from '../harness/index.js';
import type { Ended } from './checking.js';
import { runInProcess } from './in-process.js';

/** A node's files below a directory, and a configuration with an executable beside them. */
export class TreeNode {
  readonly #directory = mkdtempSync(join(tmpdir(), 'drp-tree-'));
  readonly root = join(this.#directory, 'node');
  readonly config = join(this.#directory, 'own', 'config.yaml');
  readonly executable = join(this.#directory, 'executable');

  constructor(scope: Scope, tree: NodeTree) {
    scope.after(() => rmSync(this.#directory, { recursive: true, force: true }));
    for (const [path, content] of Object.entries(tree)) {
      const place = join(this.root, path);
      mkdirSync(dirname(place), { recursive: true });
      if (typeof content === 'string') writeFileSync(place, content);
      else symlinkSync(content.link, place);
    }
    mkdirSync(dirname(this.config));
    writeFileSync(this.executable, '#!/bin/sh\n', { mode: 0o755 });
    this.configure('images: []\n');
  }

  /** @param rules the rest of the configuration */
  configure(rules: string, name = 'config.yaml'): void {
    const runtime = 'runtime: { type: cri, endpoint: unix:///run/containerd/containerd.sock }\n';
    writeFileSync(join(dirname(this.config), name), name === 'config.yaml' ? runtime + rules : rules);
  }

  /** `plan` and `install`, as the program runs them. */
  install(command: 'plan' | 'install', ...args: readonly string[]): Promise<Ended> {
    const own = ['--root', this.root, '--config', this.config, '--executable', this.executable];
    return this.run(command, ...own, ...args);
  }

  uninstall(...args: readonly string[]): Promise<Ended> {
    return this.run('uninstall', '--root', this.root, '--executable', this.executable, ...args);
  }

  run(...args: readonly string[]): Promise<Ended> {
    return runInProcess(
      (program, own) => addNodeInstallerCommands(program, Object.assign(own, { env: {} })),
      args,
    );
  }

  /** All files with their text; links by where they lead. */
  files(): Readonly<Record<string, string>> {
    const entries = readdirSync(this.root, { recursive: true, withFileTypes: true }).flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      const shown = path.slice(this.root.length);
      if (entry.isFile()) return [[shown, readFileSync(path, 'utf8')] as const];
      return entry.isSymbolicLink() ? [[shown, 'a link'] as const] : [];
    });
    return Object.fromEntries(entries);
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.root, path), text);
  }
}
