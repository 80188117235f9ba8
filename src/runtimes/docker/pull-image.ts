import { type PullOptions, RuntimeError } from '../../contracts/runtime.js';
import { type ImageReference, printImageReference } from '../../reference/image-reference.js';
import { printDuration } from '../../settings/duration.js';
import { exactName } from './asked-image.js';
import { type EngineClient, messageOf, type OpenAnswer } from './engine-client.js';
import { jsonLines } from './json-lines.js';
import { LayerProgress } from './layer-progress.js';
import { pullFailure } from './pull-failure.js';
import { type PullMessage, parsePullMessage } from './pull-message.js';
import { registryAuth } from './registry-auth.js';
import { type EngineActivity, StallWatch } from './stall-watch.js';

export interface PullParts {
  readonly client: EngineClient;
  readonly activity: EngineActivity;
  /** Milliseconds. */
  readonly stallTimeout: number;
}

/**
 * `POST /images/create`: asks the engine to pull, and reads what it reports to the end, for an error may be its last line.
 *
 * @throws RegistryError, RuntimeError as Runtime.pull does; the signal's reason
 */
export async function pullImage(parts: PullParts, image: ImageReference, o: PullOptions): Promise<void> {
  o.signal.throwIfAborted();
  const progress = new LayerProgress();
  const stop = new AbortController();
  const onAbort = () => stop.abort(o.signal.reason);
  const watch = new StallWatch(parts.stallTimeout, progress, parts.activity, () =>
    stop.abort(stalled(progress, parts.stallTimeout)),
  );
  o.signal.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const message of report(parts.client, image, o, stop.signal)) {
      if (!progress.take(message)) continue;
      watch.moved();
      o.onProgress?.(progress.snapshot);
    }
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    watch.close();
    o.signal.removeEventListener('abort', onAbort);
  }
}

/** What the engine reports. Ends in order only where it is done. Aborting ends the engine's pull, too. */
async function* report(
  client: EngineClient,
  image: ImageReference,
  { credential }: PullOptions,
  signal: AbortSignal,
): AsyncGenerator<PullMessage> {
  const { repository } = image;
  const { tag, digest } = exactName(image);
  const untold = credential ? [credential] : [];
  const answer = await client.open({
    method: 'POST',
    path: '/images/create',
    // Without a tag the engine would pull all there are. It takes a digest for one.
    query: { fromImage: printImageReference({ repository }), tag: digest ?? tag ?? 'latest' },
    headers: credential ? { 'x-registry-auth': registryAuth(credential, repository.registry) } : {},
    signal,
  });
  const { status } = answer;
  if (status !== 200) {
    const message = messageOf({ status, text: await client.text(answer, signal) });
    throw pullFailure({ message, status }, image, untold);
  }
  let isSilent = true;
  for await (const line of lines(client, answer)) {
    const message = parsePullMessage(line);
    if (message.error) throw pullFailure(message.error, image, untold);
    isSilent = false;
    yield message;
  }
  if (isSilent) throw new RuntimeError('failed', 'the Docker Engine reported nothing of the pull');
}

async function* lines(client: EngineClient, { body }: OpenAnswer) {
  try {
    yield* jsonLines(body);
  } catch (error) {
    throw client.lost(error);
  }
}

function stalled({ snapshot }: LayerProgress, timeout: number): RuntimeError {
  const { done, total } = snapshot.layers;
  const reached = total === 0 ? 'before the first layer' : `with ${done} of ${total} layers done`;
  return new RuntimeError(
    'stalled',
    `the Docker Engine reported no progress for ${printDuration(timeout)}, ${reached}`,
  );
}
