import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { downwardHeaders, upwardHeaders } from './answer-headers.js';
import { discard } from './bodies.js';
import { nextPage } from './next-page.js';
import { failure, type OperationOf, type UpstreamCall, type UpstreamTools } from './upstream-call.js';

/**
 * Tags, referrers and the catalogue: pages that may link to the next one. Their bodies stream.
 *
 * @throws RegistryError UNAVAILABLE for a catalogue that goes on elsewhere: whoever reads it promises the whole
 */
export async function fetchList(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'tags' | 'referrers' | 'catalog'>>,
): Promise<RegistryResponse> {
  const { method, headers } = call.request;
  const up = upwardHeaders(headers, ['range', 'if-range', 'content-type', 'content-length']);
  const outcome = await tools.client.send({
    method,
    target: call.target,
    headers: up,
    redirects: 'follow',
    // A client reads referrers as slowly as it likes; whoever asks for the other lists reads them whole.
    ...(call.operation.kind === 'referrers' && method === 'GET' && ({ pool: 'blobs' } as const)),
    signal: call.signal,
  });
  const { answer, redirected } = outcome;
  const empty = answer.status === 304 || method === 'HEAD';
  if (answer.status !== 200 && answer.status !== 304) throw await failure(tools, call, outcome);
  const link = answer.headers.get('link');
  const next = redirected ? undefined : nextPage(link, call.target.url);
  if (next === 'elsewhere') {
    tools.metrics.linkDropped();
    tools.log.warn(
      { list: call.operation.kind },
      "an upstream's link to a next page leads elsewhere: dropped",
    );
  }
  if (call.operation.kind === 'catalog' && (next === 'elsewhere' || (redirected && link !== undefined))) {
    discard(answer.body);
    throw new RegistryError('UNAVAILABLE', { reason: "the catalogue's next page is elsewhere" });
  }
  if (empty) discard(answer.body);
  return {
    status: answer.status,
    headers: downwardHeaders(answer),
    ...(!empty && { body: answer.body }),
    ...(next !== undefined && next !== 'elsewhere' && { nextPage: next }),
  };
}
