import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse, parseAllDocuments, stringify } from 'yaml';

const run = promisify(execFile);

/** `deploy/kubernetes` of the repository. */
export const manifests = fileURLToPath(new URL('../../deploy/kubernetes', import.meta.url));

/** A Kubernetes object as it was rendered; what is in it is looked at by those who assert something. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

/** Every directory with a kustomization, relative to {@link manifests}, sorted. */
export function kustomizations(): readonly string[] {
  return readdirSync(manifests, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('kustomization.yaml'))
    .map((name) => dirname(name))
    .sort();
}

interface Kustomization {
  readonly resources?: readonly string[];
  readonly patches?: readonly { readonly path: string }[];
  readonly [key: string]: unknown;
}

/** Kustomize 2.0.3 does not know that a DaemonSet names ConfigMaps in projected volumes, too. */
const nameReferences = stringify({
  nameReference: [
    {
      ...{ kind: 'ConfigMap', version: 'v1' },
      fieldSpecs: [
        { kind: 'DaemonSet', path: 'spec/template/spec/volumes/projected/sources/configMap/name' },
      ],
    },
  ],
});

/**
 * Debian 12 has kubectl 1.20 with kustomize 2.0.3, which knows directories as `bases` alone, and patches by `path` under
 * another key. For it the manifests are copied and written so; that they mean the same is what it is for.
 *
 * @returns the directory to render from, {@link manifests} itself for a newer kubectl. A copy is the caller's to remove.
 */
export async function manifestsFor(kubectl: string): Promise<string> {
  const { stdout } = await run(kubectl, ['version', '--client', '--output=json']);
  const version: unknown = JSON.parse(stdout);
  if (typeof version === 'object' && version !== null && 'kustomizeVersion' in version) return manifests;
  return manifestsForOld();
}

/** @returns a copy for kustomize 2.0.3; the caller's to remove */
export function manifestsForOld(): string {
  const copy = mkdtempSync(join(tmpdir(), 'drp-manifests-'));
  cpSync(manifests, copy, { recursive: true });
  for (const name of kustomizations()) writeForOld(join(copy, name));
  return copy;
}

/** Writes the kustomization of a directory anew, for kustomize 2.0.3. */
export function writeForOld(directory: string): void {
  const file = join(directory, 'kustomization.yaml');
  const { resources = [], patches = [], ...rest } = parse(readFileSync(file, 'utf8')) as Kustomization;
  const isBase = (path: string) => statSync(join(directory, path)).isDirectory();
  const old = {
    ...rest,
    bases: resources.filter(isBase),
    resources: resources.filter((path) => !isBase(path)),
    patchesStrategicMerge: patches.map(({ path }) => path),
    configurations: ['name-references.yaml'],
  };
  writeFileSync(join(directory, 'name-references.yaml'), nameReferences);
  writeFileSync(file, stringify(old));
}

/** What `kubectl kustomize` makes of a kustomization; it asks no cluster. */
export async function render(kubectl: string, directory: string): Promise<readonly Manifest[]> {
  if (!existsSync(join(directory, 'kustomization.yaml'))) throw new Error(`no kustomization: ${directory}`);
  const { stdout } = await run(kubectl, ['kustomize', directory], { maxBuffer: 16 * 1024 * 1024 });
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}
