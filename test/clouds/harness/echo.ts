import type { Exchange, World, WorldRequest } from './world.js';

/** Where a host repeats what it is shown. */
export interface EchoPlace {
  readonly host: string;
  /** Only those; all of the host where it is missing. */
  readonly isMeant?: (request: WorldRequest) => boolean;
}

/** `cut`: nothing comes back. */
export type EchoStatus = number | 'cut';

/** Everything secret that was shown, as it is and without its wrapping. */
function shownIn(headers: WorldRequest['headers'], body: string): readonly string[] {
  const { authorization = '' } = headers;
  const [, basic] = /^Basic (.+)$/.exec(authorization) ?? [];
  const decoded = basic === undefined ? [] : [Buffer.from(basic, 'base64').toString('utf8')];
  const passwords = decoded.map((text) => text.slice(text.indexOf(':') + 1));
  const others = Object.entries(headers).flatMap(([name, value]) =>
    /token|key|secret/.test(name) ? [String(value)] : [],
  );
  const fields = [...new URLSearchParams(body).values()].filter((value) => value.length > 12);
  return [authorization, ...passwords, ...decoded, ...others, body, ...fields].filter((text) => text !== '');
}

/**
 * A server that is no good at keeping secrets: from now on all it is shown is in its error, in every form that clouds
 * write errors in. What is shown nothing goes to the real one, so that its challenge is learned first.
 *
 * @returns ends it; each answer it gave, empty where it cut the connection
 */
export function startEcho(
  world: World,
  { host, isMeant }: EchoPlace,
  status: EchoStatus,
): () => readonly string[] {
  const answers: string[] = [];
  const end = world.intercept(async (exchange) => {
    const { record } = exchange;
    if (record.host !== host || isMeant?.(record) === false) return false;
    if (record.method === 'GET' || record.method === 'HEAD') {
      if (record.headers.authorization === undefined) return false;
    } else await exchange.readText();
    const shown = status === 'cut' ? [] : shownIn(record.headers, record.body);
    answers.push(shown.join('\n'));
    if (status === 'cut') exchange.response.destroy();
    else answer(exchange, status, shown);
    return true;
  });
  return () => {
    end();
    return answers;
  };
}

function answer(exchange: Exchange, status: number, shown: readonly string[]): void {
  const { record, request } = exchange;
  const words = `you showed ${shown.join(' and ')}`;
  const inHeader = encodeURIComponent(shown[0] ?? '');
  const headers = {
    'www-authenticate': `Bearer realm="https://${record.host}/${inHeader}",error="${inHeader}"`,
    'x-shown': inHeader,
    warning: `199 - "${inHeader}"`,
    link: `</v2/?${inHeader}>; rel="next"`,
    location: `/v2/?shown=${inHeader}`,
    'x-amzn-errortype': inHeader,
  };
  const type = request.headers['content-type'] ?? '';
  if (record.host.startsWith('sts.') && record.host.endsWith('amazonaws.com')) {
    const error = `<Error><Code>AccessDenied</Code><Message>${escapeXml(words)}</Message></Error>`;
    exchange.text(status, `<ErrorResponse>${error}</ErrorResponse>`, {
      ...headers,
      'content-type': 'text/xml',
    });
    return;
  }
  const error = {
    errors: [{ code: 'UNSUPPORTED', message: words, detail: shown }],
    ...{ error: 'invalid_grant', error_description: words, error_codes: [7000215] },
    ...{ __type: 'AccessDeniedException', message: words, Message: words },
    ...{ details: words, access_token: '', refresh_token: '' },
  };
  exchange.json(status, error, type.includes('amz-json') ? { ...headers, 'content-type': type } : headers);
}

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
}
