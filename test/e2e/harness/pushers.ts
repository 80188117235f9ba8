import { bigImage, startMemoryRegistry } from '../../../src/testing/index.js';
import { type CommandResult, succeeded } from './command.js';
import { startDockerd } from './dockerd.js';
import { type FaultyFront, logLines } from './faulty-front.js';
import { skopeo } from './skopeo.js';
import type { Workspace } from './workspace.js';

/** Pushes an image of `newImage` to a repository, under the tag 1. */
export type Push = (image: string, repository: string, signal?: AbortSignal) => Promise<CommandResult>;

/** Clients that are logged in as alice. */
export interface Pushers {
  readonly withDocker: Push;
  readonly withSkopeo: Push;
  /** Asks docker for what a repository has under the tag 1. */
  readonly pullWithDocker: (repository: string) => Promise<CommandResult>;
  /**
   * An image nobody has pushed yet: clients mount what they remember. It has two layers and a configuration.
   *
   * @param size bytes of its large layer
   * @returns its name in a registry that is no part of the test
   */
  readonly newImage: (size: number) => Promise<string>;
  /** The statuses of the proxy's answers to what was asked of a repository. */
  readonly answersFor: (repository: string) => readonly number[];
}

export async function startPushers(workspace: Workspace, { proxy, password }: FaultyFront): Promise<Pushers> {
  const { host } = proxy;
  const seed = await startMemoryRegistry();
  workspace.onClose(() => seed.close());
  const { docker } = await startDockerd(workspace);
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', host], { input: password }));
  const client = skopeo(workspace);
  const insecure = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  const copy = ['copy', ...insecure, '--src-no-creds', '--dest-creds', `alice:${password}`];
  let images = 0;
  return {
    withDocker: async (image, repository, signal) => {
      succeeded(await docker(['pull', image]));
      succeeded(await docker(['tag', image, `${host}/${repository}:1`]));
      return docker(['push', `${host}/${repository}:1`], signal && { signal });
    },
    withSkopeo: (image, repository, signal) => {
      const target = `docker://${host}/${repository}:1`;
      return client([...copy, `docker://${image}`, target], undefined, signal && { signal });
    },
    pullWithDocker: (repository) => docker(['pull', `${host}/${repository}:1`]),
    newImage: async (size) => {
      const number = ++images;
      const image = await bigImage({ layers: 1, size, seed: number, message: `image ${number}\n` });
      seed.putImage(`image-${number}`, '1', image);
      return `${seed.host}/image-${number}:1`;
    },
    answersFor: (repository) =>
      logLines(proxy, 'access')
        .filter((line) => line.repository === repository)
        .map(({ status }) => Number(status)),
  };
}
