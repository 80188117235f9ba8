import { readFileSync } from 'node:fs';

// What scripts/executable/bundle.mjs puts in their place; elsewhere there are no such variables.
declare const builtVersion: string | undefined;
declare const builtCommit: string | undefined;

/** The version of this package. */
export const version: string = typeof builtVersion === 'string' ? builtVersion : ofPackage();

/**
 * What `--version` prints: `kubelet-image-service 0.1.0 (commit 1a2b3c4, Node 24.21.0)`. The commit is there where a build
 * has written it down, which is in the self-contained executable.
 */
export function versionLine(program: string): string {
  const commit = typeof builtCommit === 'string' ? `commit ${builtCommit}, ` : '';
  return `${program} ${version} (${commit}Node ${process.versions.node})`;
}

function ofPackage(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
