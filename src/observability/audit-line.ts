import { StringDecoder } from 'node:string_decoder';
import type { AuditEvent, ImagePullEvent } from '../contracts/index.js';
import { shorten } from '../reference/repository-name.js';

/** Of the format; another one where a member was renamed or means something else. */
const version = 1;

/**
 * The members in their order, and the bytes that a text, or all texts of a list, may have. The sum stays below 8 KiB also
 * where quotes in what clients choose double under JSON's escaping.
 */
const members: Readonly<Record<keyof AuditEvent | keyof ImagePullEvent, number>> = {
  event: 16,
  result: 16,
  requestId: 64,
  address: 64,
  service: 256,
  principal: 256,
  verifier: 64,
  user: 256,
  object: 16,
  action: 64,
  repository: 256,
  tag: 128,
  digest: 300,
  mountedFrom: 256,
  upstream: 128,
  upstreamRepository: 256,
  rules: 1024,
  granted: 2400,
  token: 16,
  status: 0,
  image: 512,
  namespace: 64,
  pod: 256,
  podUid: 64,
  credential: 16,
  rule: 256,
  source: 64,
  imageRef: 512,
  duration: 0,
  bytes: 0,
  error: 32,
  reason: 512,
};

/** Of one text of a list. */
const maxEntry = 320;

/**
 * One line of JSON, with its newline; at most 8 KiB. What was cut, and a list whose end is left out, end with `…`.
 *
 * @param now milliseconds since the epoch
 */
export function printAuditLine(event: AuditEvent | ImagePullEvent, now: number): string {
  const line: Record<string, unknown> = { audit: version, time: new Date(now).toISOString() };
  const values: Readonly<Record<string, unknown>> = { ...event };
  for (const [name, limit] of Object.entries(members)) {
    const value = values[name];
    if (typeof value === 'string') line[name] = cutText(value, limit);
    else if (Array.isArray(value)) line[name] = cutList(value.map(String), limit);
    else if (typeof value === 'number') line[name] = value;
  }
  return `${JSON.stringify(line)}\n`;
}

/** @param limit bytes */
function cutText(text: string, limit: number): string {
  const bytes = Buffer.from(shorten(text, limit));
  if (bytes.length <= limit) return bytes.toString();
  return `${new StringDecoder('utf8').write(bytes.subarray(0, limit - 3))}…`;
}

/** @param limit bytes, as JSON */
function cutList(texts: readonly string[], limit: number): readonly string[] {
  const kept: string[] = [];
  let size = 0;
  for (const text of texts.map((one) => cutText(one, maxEntry))) {
    size += Buffer.byteLength(JSON.stringify(text)) + 1;
    if (size > limit) return [...kept, '…'];
    kept.push(text);
  }
  return kept;
}
