import { z } from 'zod';
import { type DriverDependencies, defineDriver } from '../contracts/index.js';
import { duration } from '../settings/duration.js';
import { imagePattern } from '../settings/image-pattern.js';
import { unixAddress } from '../settings/socket-address.js';
import { DockerRuntime } from './docker/docker-runtime.js';

const config = z.strictObject({
  endpoint: unixAddress()
    .prefault('unix:///var/run/docker.sock')
    .describe(
      "The Docker Engine's socket. In a container mount its directory and not the socket: a restarted engine makes a new one.",
    ),
  stallTimeout: duration({ min: '1s', max: '1h' })
    .prefault('1m')
    .describe(
      'A pull is given up when the engine reports no progress for so long. Extracting a layer may rest ten times as long, and a layer that waits for its turn waits as long as other pulls move.',
    ),
  pinned: z
    .array(imagePattern(), {
      error: 'expected a list of image patterns, such as [ docker.example.com/infra/** ]',
    })
    .prefault([])
    .describe(
      "Images that kubelet's garbage collection keeps, by registry and repository: `docker.example.com/infra/**`.",
    ),
});

/** The images of a Docker Engine, by its API on a unix socket. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'runtime',
  type: 'docker',
  config,
  async open(
    { endpoint, stallTimeout, pinned }: z.output<typeof config>,
    { clock, log }: DriverDependencies,
  ) {
    return new DockerRuntime({ path: endpoint.path, stallTimeout, pinned, clock, log });
  },
});
