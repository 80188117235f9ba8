import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Workspace } from './workspace.js';

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** What `module:` names. */
export const examplePlugin = 'docker-registry-proxy-example-api-keys';

/**
 * Installs the example of a verifier of one's own beside a configuration, with the proxy as it runs here. How both are
 * packed and installed by npm has a test of its own.
 *
 * @param at the configuration's directory in the workspace
 */
export function installExamplePlugin(workspace: Workspace, at: string): void {
  const [folder, file] = process.env.TEST_BUILT === '1' ? ['dist', 'plugin.js'] : ['src', 'plugin.ts'];
  const proxy = {
    name: 'docker-registry-proxy',
    type: 'module',
    exports: { './plugin': `./${folder}/${file}` },
  };
  workspace.file(`${at}/node_modules/${proxy.name}/package.json`, JSON.stringify(proxy));
  symlinkSync(join(root, folder), workspace.path(at, 'node_modules', proxy.name, folder));
  const plugin = workspace.path(at, 'node_modules', examplePlugin);
  mkdirSync(plugin);
  for (const name of ['package.json', 'api-keys.js']) {
    cpSync(join(root, 'examples/verifier-plugin', name), join(plugin, name));
  }
}
