import type { CallOptions } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { metadataIsDisabled, openInstanceMetadata } from '../../outgoing/aws/instance-metadata.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { openDirectCaller } from '../../outgoing/metadata/direct-caller.js';
import { azureMetadata, googleMetadata } from '../../outgoing/metadata/metadata-servers.js';
import { isGuid } from '../../reference/guid.js';

/** Milliseconds: it is on the machine itself or beside it; elsewhere nobody should wait long to learn that it is not. */
const limits = { connect: 1_000, timeout: 3_000 };

/** @returns undefined where the machine is one of this cloud's; why it is not, in a few words */
export type MetadataProbe = (
  o: CallOptions & { readonly environment: NodeJS.ProcessEnv; readonly direct: HttpCaller },
) => Promise<string | undefined>;

/** What the probes ask with. */
export function openProbeCaller(): HttpCaller {
  return openDirectCaller(limits);
}

/** Whatever it answers, it says who it is (cloud.google.com/compute/docs/metadata/querying-metadata). */
export const askGoogle: MetadataProbe = async ({ environment, direct, signal }) => {
  const url = placeOf(() => googleMetadata(environment, 'address'));
  if (typeof url === 'string') return url;
  const answer = await answerOf(() => direct.call({ url, headers: { 'metadata-flavor': 'Google' }, signal }));
  if (answer === undefined) return 'no answer';
  return answer.headers.get('metadata-flavor') === 'Google' ? undefined : 'another server answers';
};

/** Gives a session of IMDSv2, which nobody else has. */
export const askAws: MetadataProbe = async ({ environment, direct, signal }) => {
  if (metadataIsDisabled(environment)) return 'AWS_EC2_METADATA_DISABLED';
  try {
    await openInstanceMetadata(undefined, { direct, signal });
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return error instanceof Error ? error.message : 'no answer';
  }
};

const azureVersion = '2021-02-01';

/** Tells the machine's id (learn.microsoft.com/azure/virtual-machines/instance-metadata-service). */
export const askAzure: MetadataProbe = async ({ environment, direct, signal }) => {
  const server = placeOf(() => azureMetadata(environment));
  if (typeof server === 'string') return server;
  const url = new URL(`/metadata/instance/compute/vmId?api-version=${azureVersion}&format=text`, server);
  const once = () => answerOf(() => direct.call({ url, headers: { metadata: 'true' }, signal }));
  const first = await once();
  const answer = first !== undefined && isPassing(first.status) ? await once() : first;
  if (answer === undefined) return 'no answer';
  if (answer.status !== 200) return `it answers ${answer.status}`;
  return isGuid(answer.text.trim()) ? undefined : 'another server answers';
};

/** Too many requests, being updated, failed: as its document says, to be asked again. */
const isPassing = (status: number) => status === 429 || status === 410 || status >= 500;

/** @returns what is wrong with the variable that names it, in a few words */
function placeOf(find: () => URL): URL | string {
  try {
    return find();
  } catch (error) {
    return (error as Error).message;
  }
}

/** @returns undefined where there was none */
async function answerOf<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}
