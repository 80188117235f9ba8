import type { CallOptions } from '../../contracts/index.js';
import { RegistryError, type RegistryErrorOptions } from '../../errors.js';
import type { HttpAnswer, HttpCaller } from '../../outgoing/http-caller.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import type { Claims } from '../claims/claim-path.js';

/** What an authorization server answered. */
export interface ServerAnswer {
  /** Host and port of who answered, for operators. */
  readonly host: string;
  readonly status: number;
  readonly headers: HttpAnswer['headers'];
  /** Undefined where it is no JSON object. */
  readonly body: Claims | undefined;
}

/** @throws RegistryError UNAVAILABLE where there is no answer */
export async function postForm(
  http: HttpCaller,
  request: {
    readonly url: URL;
    readonly headers: Readonly<Record<string, string>>;
    readonly form: Readonly<Record<string, string>>;
  },
  o: CallOptions,
): Promise<ServerAnswer> {
  const { url, headers, form } = request;
  const answer = await http.call({
    ...{ url, method: 'POST', body: new URLSearchParams(form).toString(), signal: o.signal },
    headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
  });
  return serverAnswer(url, answer);
}

/** @throws RegistryError UNAVAILABLE where there is no answer */
export async function getJson(
  http: HttpCaller,
  url: URL,
  headers: Readonly<Record<string, string>>,
  o: CallOptions,
): Promise<ServerAnswer> {
  return serverAnswer(url, await http.call({ url, headers, signal: o.signal }));
}

/** For an answer that says it is one, and is not: a login page, a portal, another server. */
export function unusable(
  { host }: ServerAnswer,
  why: string,
  counts: Pick<RegistryErrorOptions, 'countsAsGuess'> = {},
): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason: `${host}: ${why}`, ...counts });
}

function serverAnswer(url: URL, { status, headers, text }: HttpAnswer): ServerAnswer {
  return { host: url.host, status, headers, body: parseJsonObject(text) };
}
