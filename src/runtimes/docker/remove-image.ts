import { z } from 'zod';
import { RuntimeError, type RuntimeImage } from '../../contracts/runtime.js';
import { type EngineClient, unexpected } from './engine-client.js';
import { imagePath } from './image-path.js';
import { parsed } from './parsed.js';

const containers = z.array(z.object({ Id: z.string(), ImageID: z.string() }));

/**
 * Removes an image with all its names (CRI RemoveImage; `DELETE /images/NAME` of the Docker Engine API), or none of them
 * where a container needs it: an image that has lost its name would be pulled anew.
 *
 * @throws RuntimeError
 */
export async function removeImage(
  client: EngineClient,
  image: Pick<RuntimeImage, 'id' | 'repoTags' | 'repoDigests'>,
  signal: AbortSignal,
): Promise<void> {
  // By its id alone the engine removes an image that has names in one repository, and looks for containers before.
  if (await removeName(client, image.id, signal)) return;
  const user = await containerOf(client, image.id, signal);
  if (user !== undefined) throw inUse(`the container ${user.slice(0, 12)} uses the image`);
  for (const name of [...image.repoTags, ...image.repoDigests, image.id]) {
    if (!(await removeName(client, name, signal))) {
      throw inUse(`the Docker Engine does not remove ${name}: something still needs the image`);
    }
  }
}

/** @returns false where the engine says that something else refers to the image */
async function removeName(client: EngineClient, name: string, signal: AbortSignal): Promise<boolean> {
  const answer = await client.call({ method: 'DELETE', path: imagePath(name), signal });
  if (answer.status === 409) return false;
  if (answer.status === 200 || answer.status === 404) return true;
  throw unexpected(`DELETE ${imagePath(name)}`, answer);
}

/** Running or not. The engine's filter names those of images made from this one, too. */
async function containerOf(client: EngineClient, id: string, signal: AbortSignal) {
  const query = { all: 'true', filters: JSON.stringify({ ancestor: [id] }) };
  const answer = await client.call({ method: 'GET', path: '/containers/json', query, signal });
  if (answer.status === 404) return undefined;
  if (answer.status !== 200) throw unexpected('GET /containers/json', answer);
  return parsed(answer, (json) => containers.parse(json)).find(({ ImageID }) => ImageID === id)?.Id;
}

function inUse(message: string): RuntimeError {
  return new RuntimeError('in use', message);
}
