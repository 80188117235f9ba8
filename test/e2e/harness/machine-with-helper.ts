import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Workspace } from './workspace.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * The same workspace as clients on another machine see it: `docker-credential-registry-proxy` is on their PATH, and finds
 * the metadata servers of that machine.
 *
 * @param name of the machine
 * @param variables of the helper's environment, beside what every program of the workspace gets
 */
export function machineWithHelper(
  workspace: Workspace,
  name: string,
  variables: Readonly<Record<string, string>>,
): Workspace {
  const assignments = Object.entries(variables).map(([key, value]) => quoted(`${key}=${value}`));
  const command = [process.execPath, ...programArguments()].map(quoted);
  const lines = ['#!/bin/sh', `exec env ${[...assignments, ...command].join(' ')} "$@"`, ''];
  const file = workspace.file(`${name}/bin/docker-credential-registry-proxy`, lines.join('\n'));
  chmodSync(file, 0o700);
  const directory = workspace.path(name, 'bin');
  const environment: Workspace['environment'] = (more = {}) => {
    const env = workspace.environment(more);
    return { ...env, PATH: `${directory}:${env.PATH}` };
  };
  return Object.assign(Object.create(workspace) as Workspace, { environment });
}

/** For a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `npm test` builds first, and says so; a test file run by itself takes the source as it is. */
function programArguments(): readonly string[] {
  return process.env.TEST_BUILT === '1'
    ? [join(root, 'dist/bin/docker-credential-registry-proxy.js')]
    : ['--import', import.meta.resolve('tsx'), join(root, 'src/bin/docker-credential-registry-proxy.ts')];
}
