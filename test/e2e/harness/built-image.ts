import { succeeded } from './command.js';
import type { Dockerd } from './dockerd.js';
import { waitFor } from './wait-for.js';

/** Of `docker image inspect`, what tests look at. */
export interface ImageConfiguration {
  readonly User: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly StopSignal: string;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

/** @returns the configuration, and the size in bytes, that of its base with it */
export async function inspectImage(
  { docker }: Dockerd,
  image: string,
): Promise<{ readonly configuration: ImageConfiguration; readonly size: number }> {
  const { stdout } = succeeded(await docker(['image', 'inspect', image]));
  const [{ Config, Size }] = JSON.parse(stdout) as [{ Config: ImageConfiguration; Size: number }];
  return { configuration: Config, size: Size };
}

/**
 * What an image holds, without starting it.
 *
 * @returns paths without the first slash; directories end with one
 */
export async function pathsIn(dockerd: Dockerd, image: string): Promise<readonly string[]> {
  const { stdout } = succeeded(await dockerd.docker(['create', image, 'unused']));
  const container = stdout.trim();
  const script = 'docker export "$1" | tar -t';
  const listed = succeeded(await dockerd.shell(script, container));
  succeeded(await dockerd.docker(['rm', container]));
  return listed.stdout.trim().split('\n');
}

/** The text of a file in an image. */
export async function readInImage({ docker }: Dockerd, image: string, path: string): Promise<string> {
  const read = ['run', '--rm', '--network=none', '--entrypoint=/bin/cat', image, path];
  return succeeded(await docker(read)).stdout;
}

/** @returns how a container's health check went, once it says something; what the check last printed where it is bad */
export async function healthOf({ docker }: Dockerd, container: string): Promise<string> {
  const inspect = async () => {
    const { stdout } = succeeded(await docker(['container', 'inspect', container]));
    const [{ State }] = JSON.parse(stdout) as [{ State: { Health: Health; Running: boolean } }];
    return State;
  };
  await waitFor(async () => {
    const { Health, Running } = await inspect();
    return !Running || Health.Status !== 'starting';
  }, 60_000);
  const { Health, Running } = await inspect();
  const last = Health.Log.at(-1)?.Output ?? '';
  return Health.Status === 'healthy' ? 'healthy' : `${Health.Status}, running: ${Running}: ${last}`;
}

interface Health {
  readonly Status: string;
  readonly Log: readonly { readonly Output: string }[];
}

/** Asks it to stop as Kubernetes does: SIGTERM, and SIGKILL after a minute. @returns its exit code */
export async function stoppedWith({ docker }: Dockerd, container: string): Promise<number> {
  succeeded(await docker(['stop', '--time=60', container]));
  const { stdout } = succeeded(
    await docker(['container', 'inspect', '--format={{.State.ExitCode}}', container]),
  );
  return Number(stdout);
}
