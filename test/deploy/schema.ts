import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { Manifest } from './kustomize.js';

const run = promisify(execFile);
const nodeModules = fileURLToPath(new URL('../../node_modules', import.meta.url));

interface Model {
  validate(): void;
}

/** Of the Prometheus operator's CustomResourceDefinition what our manifest uses; Kubernetes itself does not know it. */
const serviceMonitor = z.strictObject({
  apiVersion: z.literal('monitoring.coreos.com/v1'),
  kind: z.literal('ServiceMonitor'),
  metadata: z.strictObject({ name: z.string(), namespace: z.string() }),
  spec: z.strictObject({
    selector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
    endpoints: z.array(z.strictObject({ port: z.string(), path: z.string(), interval: z.string() })).min(1),
  }),
});

const isKubernetes = ({ kind }: Manifest) => kind !== 'ServiceMonitor';
const moduleOf = ({ apiVersion, kind }: Manifest) => `kubernetes-models/${apiVersion}/${kind}`;

/** Values: types, formats, enumerations, required fields, by Kubernetes' OpenAPI schema. @returns what is wrong */
export async function schemaProblems(manifest: Manifest): Promise<readonly string[]> {
  if (!isKubernetes(manifest)) {
    const { error } = serviceMonitor.safeParse(manifest);
    return error === undefined ? [] : [z.prettifyError(error)];
  }
  const models = (await import(moduleOf(manifest))) as Record<string, new (data: Manifest) => Model>;
  const Model = models[manifest.kind];
  if (Model === undefined) return [`no model of ${manifest.apiVersion} ${manifest.kind}`];
  try {
    new Model(manifest).validate();
    return [];
  } catch (error) {
    return [String(error)];
  }
}

/**
 * Fields that the schema does not have. The validators above let them pass, as an API server of old did; the compiler does
 * not, where it compares a literal with the types made from the same schema. @returns one line for each
 */
export async function unknownFields(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const known = manifests.filter(isKubernetes);
  const directory = mkdtempSync(join(tmpdir(), 'drp-schema-'));
  try {
    symlinkSync(nodeModules, join(directory, 'node_modules'));
    const source = known.map(
      (one, index) =>
        `import type { I${one.kind} as T${index} } from '${moduleOf(one)}';\n` +
        `export const manifest${index}: T${index} = ${JSON.stringify(one)};\n`,
    );
    writeFileSync(join(directory, 'manifests.ts'), source.join(''));
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    writeFileSync(
      join(directory, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['manifests.ts'] }),
    );
    await run(join(nodeModules, '.bin', 'tsc'), ['--project', directory, '--pretty', 'false']);
    return [];
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    if (stdout === undefined || stdout === '') throw error;
    return stdout.trim().split('\n');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const compilerOptions = {
  ...{ strict: true, noEmit: true, skipLibCheck: true, types: [] },
  ...{ module: 'nodenext', target: 'es2023' },
};
