import { type ImageFiles, type MemoryRegistry, startMemoryRegistry } from '../../../src/testing/index.js';
import type { Workspace } from './workspace.js';

/** A registry beside the tested ones: where clients get what they are to push. */
export interface Seed extends Pick<MemoryRegistry, 'host'> {
  /** @returns the image as clients name it */
  put(name: string, image: ImageFiles): string;
}

export async function startSeed(workspace: Workspace): Promise<Seed> {
  const registry = await startMemoryRegistry();
  workspace.onClose(() => registry.close());
  const { host } = registry;
  return {
    host,
    put: (name, image) => {
      registry.putImage(name, '1', image);
      return `${host}/${name}:1`;
    },
  };
}
