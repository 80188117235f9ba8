import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import type { AuditEvent } from '../../src/contracts/index.js';
import { RegistryError } from '../../src/errors.js';
import { FrontServer } from '../../src/http/front-server.js';
import { Listener } from '../../src/http/listener.js';
import { RegistryService } from '../../src/proxy/registry-service.js';
import { RouteTable } from '../../src/routing/route-table.js';
import { AddressRanges } from '../../src/settings/address-range.js';
import { SignInError } from '../../src/sign-in/sign-in-error.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { FakePolicy } from '../../src/testing/fake-policy.js';
import { FakeTokenIssuer } from '../../src/testing/fake-token-issuer.js';
import { FakeUpstream, upstreamResponse } from '../../src/testing/fake-upstream.js';
import { FakeVerifier } from '../../src/testing/fake-verifier.js';
import { TokenService } from '../../src/token/token-service.js';
import { FakeSignIn } from '../harness/fake-sign-in.js';
import { type Answer, assertError, type ClientRequest, send } from '../harness/index.js';

const https = 'https://docker.test';
const form = 'application/x-www-form-urlencoded';
const policy =
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

interface StartOptions {
  readonly externalUrl?: string;
  readonly signIn?: FakeSignIn | 'none';
  readonly requestsPerAddress?: number;
}

/** A front on `docker.test` and `team.test`, with a sign-in that a test controls. */
async function start(t: TestContext, options: StartOptions = {}) {
  const { externalUrl = https, signIn = new FakeSignIn(), requestsPerAddress = 100 } = options;
  const clock = new FakeClock();
  const log = new FakeLog();
  const metrics = new FakeMetrics();
  const upstream = new FakeUpstream(async () => upstreamResponse(404, {}, ''));
  const tokens = new FakeTokenIssuer(clock);
  const verifier = new FakeVerifier('local', {});
  const place = { upstream: 'one', rewrite: '', ns: [] };
  const routes = new RouteTable(
    new URL(externalUrl),
    [
      { prefix: '', ...place },
      { prefix: '', host: 'team.test', ...place },
    ],
    new Map([['one', upstream]]),
  );
  const events: AuditEvent[] = [];
  const parts = { routes, verifier, policy: new FakePolicy(() => []), tokens, clock, log };
  const front = new FrontServer(
    {
      ...parts,
      registry: new RegistryService(parts),
      token: new TokenService({ ...parts, otherServices: [] }),
      trustedProxies: new AddressRanges([]),
      limits: { requestsPerAddress, requestsPerPrincipal: 100 },
      audit: { record: (event) => void events.push(event as AuditEvent) },
      ...(signIn !== 'none' && { signIn }),
    },
    { log, metrics },
  );
  const listener = await Listener.open({ host: '127.0.0.1', port: 0, handle: front.handle });
  t.after(() => listener.drain(0));
  const ask = (path: string, request: ClientRequest = {}) => send(listener.address.port, path, request);
  /** As a browser sends a form of its own page, unless told otherwise. */
  const post = (path: string, { cookie, fields, headers }: Form = {}) =>
    ask(path, {
      method: 'POST',
      body: fields ?? 'csrf=csrf-of-alice',
      headers: { 'content-type': form, 'sec-fetch-site': 'same-origin', cookie: cookie ?? alice, ...headers },
    });
  const { port } = listener.address;
  return { port, ask, post, log, metrics, events, signIn: signIn as FakeSignIn };
}

interface Form {
  readonly cookie?: string;
  readonly fields?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const alice = '__Host-registry-session=session-alice';
const create = 'csrf=csrf-of-alice&label=laptop&life=86400000';

function cookiesOf({ headers }: Answer): readonly string[] {
  return headers['set-cookie'] ?? [];
}

function assertPage(answer: Answer, status: number): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'text/html; charset=utf-8');
  assert.match(answer.text, /^<!DOCTYPE html>\n<html lang="en">/);
  assert.equal(answer.text.match(/<h1[ >]/g)?.length, 1, 'one h1');
  assert.match(answer.text, /<title>[^<]+<\/title>/);
}

describe('the headers of pages', () => {
  const requests: readonly (readonly [what: string, method: string, path: string, status: number])[] = [
    ['the landing page', 'GET', '/', 200],
    ['its HEAD', 'HEAD', '/', 200],
    ['a style sheet', 'GET', '/assets/page.css', 200],
    ['a redirect', 'GET', '/sign-in', 302],
    ['an error', 'GET', '/sign-in/callback', 400],
    ['a method that is not there', 'PUT', '/', 405],
    ['a form from elsewhere', 'POST', '/personal-tokens', 403],
  ];
  for (const [what, method, path, status] of requests) {
    test(`of ${what}`, async (t) => {
      const { ask } = await start(t);
      const { headers, ...answer } = await ask(path, { method });
      assert.equal(answer.status, status, answer.text);
      assert.equal(headers['content-security-policy'], policy);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['x-frame-options'], 'DENY');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
      assert.match(String(headers['permissions-policy']), /camera=\(\)/);
      assert.equal(headers['strict-transport-security'], undefined);
      assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/);
      const cached = path.startsWith('/assets/') ? 'public, max-age=3600' : 'no-store';
      assert.equal(headers['cache-control'], cached);
    });
  }

  test('of a page with forms: an older browser has to say where they come from', async (t) => {
    const { ask } = await start(t);
    const { headers } = await ask('/', { headers: { cookie: alice } });
    assert.equal(headers['referrer-policy'], 'same-origin');
    assert.equal(headers['content-security-policy'], policy);
  });
});

describe('the methods of pages', () => {
  const rows: readonly (readonly [path: string, allow: string])[] = [
    ['/', 'GET, HEAD'],
    ['/assets/page.css', 'GET, HEAD'],
    ['/assets/copy.js', 'GET, HEAD'],
    ['/assets/icon.svg', 'GET, HEAD'],
    ['/sign-in', 'GET, HEAD'],
    ['/sign-in/callback', 'GET'],
    ['/sign-in/out', 'POST'],
    ['/personal-tokens', 'POST'],
    ['/personal-tokens/revoke', 'POST'],
  ];
  for (const [path, allow] of rows) {
    test(`of ${path} are ${allow}`, async (t) => {
      const { ask } = await start(t);
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const answer = await ask(path, { method });
        if (allow.split(', ').includes(method)) {
          assert.notEqual(answer.status, 405, `${method} ${path}`);
        } else {
          assert.equal(answer.status, 405, `${method} ${path}`);
          assert.equal(answer.headers.allow, allow);
        }
        if (method === 'HEAD') assert.equal(answer.body.length, 0);
      }
    });
  }

  test('a HEAD has the length of the GET', async (t) => {
    const { ask } = await start(t);
    const [get, head] = [await ask('/'), await ask('/', { method: 'HEAD' })];
    assert.equal(head.headers['content-length'], get.headers['content-length']);
  });

  test('where nobody signs in, only the landing page and its files are there', async (t) => {
    const { ask } = await start(t, { signIn: 'none' });
    assertPage(await ask('/'), 200);
    assert.doesNotMatch((await ask('/')).text, /sign.in/i);
    for (const [path] of rows.slice(4)) assertError(await ask(path, { method: 'POST' }), 404, 'UNSUPPORTED');
  });

  test('what is beside them stays with the registry', async (t) => {
    const { ask } = await start(t);
    for (const path of [
      '/sign-in/',
      '/assets/',
      '/assets/page.css.map',
      '/index.html',
      '/personal-tokens/x',
    ]) {
      assertError(await ask(path), 404, 'UNSUPPORTED');
    }
  });
});

describe('the landing page', () => {
  const accepts: readonly (readonly [accept: string | undefined, isPage: boolean])[] = [
    [undefined, true],
    ['*/*', true],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', true],
    ['text/*;q=0.1', true],
    ['application/json', false],
    ['application/vnd.oci.image.manifest.v1+json, application/json', false],
    ['application/json, text/html;q=0', false],
  ];
  for (const [accept, isPage] of accepts) {
    test(`for who takes ${accept ?? 'anything'}: ${isPage ? 'the page' : 'no such path'}`, async (t) => {
      const { ask } = await start(t);
      const answer = await ask('/', { headers: accept === undefined ? {} : { accept } });
      if (isPage) assertPage(answer, 200);
      else assertError(answer, 404, 'UNSUPPORTED');
    });
  }

  test('names the host that was asked, and leads to where people sign in', async (t) => {
    const { ask } = await start(t);
    const home = await ask('/');
    assert.match(home.text, /docker login docker\.test</);
    assert.match(home.text, /href="\/sign-in"/);
    const other = await ask('/', { host: 'team.test' });
    assert.match(other.text, /docker login team\.test</);
    assert.match(other.text, /href="https:\/\/docker\.test\/sign-in"/);
  });

  test('takes nothing from a host that we do not serve', async (t) => {
    const { ask } = await start(t);
    for (const host of ['evil.test', '"><script>alert(1)</script>', 'docker.test:8443', '127.0.0.1']) {
      const { text } = await ask('/', { host });
      assert.match(text, /docker login docker\.test</);
      assert.doesNotMatch(text, /evil|alert|8443|127\.0/);
    }
  });
});

describe('the files of pages', () => {
  test('are found as pages name them, and only once', async (t) => {
    const { ask } = await start(t);
    const { text } = await ask('/');
    const urls = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, url]) => url ?? '');
    assert.equal(urls.length, 3, text);
    for (const url of urls) {
      const first = await ask(url);
      assert.equal(first.status, 200);
      const { etag = '' } = first.headers;
      const again = await ask(url, { headers: { 'if-none-match': `"other", W/${etag}` } });
      assert.equal(again.status, 304);
      assert.equal(again.body.length, 0);
      assert.equal((await ask(url, { headers: { 'if-none-match': '"other"' } })).status, 200);
    }
  });

  test('fetch nothing from elsewhere', async (t) => {
    const { ask } = await start(t);
    for (const path of ['/assets/page.css', '/assets/copy.js']) {
      assert.doesNotMatch((await ask(path)).text, /https?:|url\(|@import|innerHTML|eval/);
    }
  });
});

describe('cookies', () => {
  for (const [externalUrl, prefix, secure] of [
    [https, '__Host-', '; Secure'],
    ['http://docker.test', '', ''],
  ] as const) {
    test(`of ${externalUrl}`, async (t) => {
      const { ask } = await start(t, { externalUrl });
      const attributes = `Path=/; HttpOnly; SameSite=Lax${secure}`;
      const begun = await ask('/sign-in');
      assert.deepEqual(cookiesOf(begun), [
        `${prefix}registry-sign-in=sealed-state; Max-Age=600; ${attributes}`,
      ]);
      assert.equal(begun.headers.location, 'https://sso.test/authorize?state=one');
      const cookie = `${prefix}registry-sign-in=sealed-state`;
      const back = await ask('/sign-in/callback?code=alice', { headers: { cookie } });
      assert.equal(back.status, 303, back.text);
      assert.equal(back.headers.location, '/');
      assert.deepEqual(cookiesOf(back), [
        `${prefix}registry-sign-in=; Max-Age=0; ${attributes}`,
        `${prefix}registry-session=session-alice; Max-Age=3600; ${attributes}`,
        `${prefix}registry-new-token=sealed-000000000001; Max-Age=300; ${attributes}`,
      ]);
    });
  }

  test('a new token is shown once, and not to another', async (t) => {
    const { ask, post, signIn } = await start(t);
    const made = await post('/personal-tokens', { fields: create });
    assert.equal(made.status, 303, made.text);
    const fresh = `__Host-registry-new-token=sealed-000000000001`;
    const token = signIn.issued.get('000000000001')?.token.reveal() ?? '';
    const other = await ask('/', { headers: { cookie: `__Host-registry-session=session-bob; ${fresh}` } });
    assert.ok(!other.text.includes(token), "bob's page has alice's token");
    const head = await ask('/', { method: 'HEAD', headers: { cookie: `${alice}; ${fresh}` } });
    assert.deepEqual(cookiesOf(head), [], 'a HEAD clears nothing');
    const shown = await ask('/', { headers: { cookie: `${alice}; ${fresh}` } });
    assert.ok(shown.text.includes(token), shown.text);
    assert.match(shown.text, /<title>Your new token – docker\.test<\/title>/);
    assert.match(cookiesOf(shown).join('\n'), /^__Host-registry-new-token=; Max-Age=0;/);
    assert.ok(!(await ask('/', { headers: { cookie: alice } })).text.includes(token), 'shown again');
  });

  test('one that is there twice is none', async (t) => {
    const { ask } = await start(t);
    const { text } = await ask('/', { headers: { cookie: `${alice}; __Host-registry-session=session-eve` } });
    assert.match(text, /href="\/sign-in"/);
  });

  test('one without the prefix is none on https', async (t) => {
    const { ask } = await start(t);
    const { text } = await ask('/', { headers: { cookie: 'registry-session=session-alice' } });
    assert.match(text, /href="\/sign-in"/);
  });
});

describe('a sign-in', () => {
  test('begins on the host of the external URL', async (t) => {
    const { ask } = await start(t);
    const answer = await ask('/sign-in', { host: 'team.test' });
    assert.equal(answer.status, 302);
    assert.equal(answer.headers.location, 'https://docker.test/sign-in');
    assert.deepEqual(cookiesOf(answer), []);
  });

  test('begins at once where a proxy rewrites the host, for it may do so each time', async (t) => {
    const { ask } = await start(t);
    const answer = await ask('/sign-in', { host: '127.0.0.1:5000' });
    assert.match(answer.headers.location ?? '', /^https:\/\/sso\.test\//);
  });

  test('leads nowhere else than it was configured to', async (t) => {
    const { ask } = await start(t);
    for (const query of ['next=https://evil.test', 'redirect_uri=//evil.test', 'return=%2F%2Fevil.test']) {
      const answers = [
        await ask(`/sign-in?${query}`),
        await ask(`/sign-in/callback?code=alice&${query}`, {
          headers: { cookie: '__Host-registry-sign-in=sealed-state' },
        }),
      ];
      for (const { headers } of answers) assert.doesNotMatch(headers.location ?? '', /evil/);
    }
  });

  const failures: readonly (readonly [error: Error, status: number, link: RegExp, result: string])[] = [
    [new SignInError('expired', 'it took too long', 'no cookie'), 400, /href="\/sign-in"/, 'none'],
    [new SignInError('denied', 'you said no', 'access_denied'), 403, /href="\/sign-in"/, 'refused'],
    [new SignInError('refused', 'not let in', 'check audiences'), 403, /href="\/sign-in"/, 'refused'],
    [new SignInError('unavailable', 'not now', 'the provider is down'), 503, /Try again/, 'failed'],
    [new RegistryError('UNAVAILABLE', { reason: 'a full disk' }), 503, /Try again/, 'failed'],
    [new TypeError('x is not a function'), 500, /Try again/, 'failed'],
  ];
  for (const [error, status, link, result] of failures) {
    test(`that fails with ${error}: ${status}`, async (t) => {
      const { ask, signIn, events, log } = await start(t);
      signIn.failure = error;
      const answer = await ask('/sign-in/callback?code=alice&state=very-secret');
      assertPage(answer, status);
      assert.match(answer.text, link);
      assert.ok(answer.text.includes(String(answer.headers['x-request-id'])), 'the id of the request');
      assert.doesNotMatch(answer.text, /not a function|check audiences|full disk|access_denied/);
      assert.match(cookiesOf(answer).join(), /^__Host-registry-sign-in=; Max-Age=0;/);
      assert.deepEqual(
        events.map((event) => `${event.event} ${event.result}`),
        result === 'none' ? [] : [`sign-in ${result}`],
      );
      const reason = error instanceof SignInError ? error.reason : 'no such';
      if (error instanceof SignInError) assert.ok(log.text.includes(reason), log.text);
      assert.doesNotMatch(log.text, /very-secret/);
    });
  }

  test('that may not be looked at now can be gone on with', async (t) => {
    const { ask, signIn } = await start(t);
    signIn.failure = new RegistryError('TOOMANYREQUESTS', { message: 'wait a minute', retryAfter: 42 });
    const cookie = '__Host-registry-sign-in=sealed-state';
    const answer = await ask('/sign-in/callback?code=alice', { headers: { cookie } });
    assertPage(answer, 429);
    assert.equal(answer.headers['retry-after'], '42');
    assert.match(answer.text, /Wait a minute\./);
    assert.deepEqual(cookiesOf(answer), []);
  });

  test('that is over leads to its session where it is reloaded', async (t) => {
    const { ask, signIn, events } = await start(t);
    const reloaded = await ask('/sign-in/callback?code=alice', { headers: { cookie: alice } });
    assert.equal(reloaded.status, 303, reloaded.text);
    assert.equal(reloaded.headers.location, '/');
    assert.deepEqual(cookiesOf(reloaded), []);
    assert.deepEqual([signIn.addresses, events], [[], []], 'it counts as a sign-in');
    const other = `${alice}; __Host-registry-sign-in=sealed-state`;
    const another = await ask('/sign-in/callback?code=bob', { headers: { cookie: other } });
    assert.match(cookiesOf(another).join(), /session-bob/, 'nobody else can sign in there');
    assertPage(await ask('/sign-in/callback?code=alice'), 400);
  });

  test('tells whose browser comes back', async (t) => {
    const { ask, signIn } = await start(t);
    const cookie = '__Host-registry-sign-in=sealed-state';
    await ask('/sign-in/callback?code=alice', { headers: { cookie } });
    assert.deepEqual(signIn.addresses, ['127.0.0.1']);
  });

  test('is told in our words in the audit log, and in those of others in the log alone', async (t) => {
    const { ask, signIn, events, log } = await start(t);
    signIn.failure = new SignInError('denied', 'you said no', 'the provider answered', '"ask the desk"');
    const answer = await ask('/sign-in/callback?code=alice');
    assertPage(answer, 403);
    assert.doesNotMatch(answer.text, /ask the desk/);
    assert.equal(events[0]?.reason, 'the provider answered');
    assert.doesNotMatch(JSON.stringify(events), /ask the desk/);
    assert.match(log.text, /the provider answered: .{0,2}"ask the desk/);
  });

  test('by too many requests of an address', async (t) => {
    const { ask, events } = await start(t, { requestsPerAddress: 0 });
    const answer = await ask('/');
    assertPage(answer, 429);
    assert.equal(answer.headers['retry-after'], '1');
    assert.equal(events[0]?.event, 'refusal');
    assert.equal((await ask('/assets/page.css')).status, 429);
  });

  test('whose session was ended by an administrator begins anew', async (t) => {
    const { ask, signIn } = await start(t);
    signIn.failure = new SignInError('expired', 'ended', 'ended by an administrator');
    const answer = await ask('/', { headers: { cookie: alice } });
    assertPage(answer, 200);
    assert.match(answer.text, /Your session has ended/);
    assert.match(cookiesOf(answer).join(), /^__Host-registry-session=; Max-Age=0;/);
  });
});

describe('a form', () => {
  const origins: readonly (readonly [
    what: string,
    headers: Readonly<Record<string, string>>,
    status: number,
  ])[] = [
    ['of our page', { 'sec-fetch-site': 'same-origin', origin: https }, 303],
    ['of our page whose referrer was kept back', { 'sec-fetch-site': 'same-origin', origin: 'null' }, 303],
    ['of another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }, 403],
    ['of another site that claims our origin', { 'sec-fetch-site': 'cross-site', origin: https }, 403],
    ['of a neighbour', { 'sec-fetch-site': 'same-site', origin: 'https://team.test' }, 403],
    ['typed by nobody', { 'sec-fetch-site': 'none' }, 403],
    ['of an older browser', { origin: https }, 303],
    ['of an older browser, from elsewhere', { origin: 'https://docker.test.evil.test' }, 403],
    ['of an older browser, over http', { origin: 'http://docker.test' }, 403],
    ['of an older browser, from a sandbox', { origin: 'null' }, 403],
    ['of one that sends a referrer only', { referer: `${https}/` }, 303],
    ['with a referrer of elsewhere', { referer: `https://evil.test/${https}/` }, 403],
    ['with a referrer that is none', { referer: 'docker.test' }, 403],
    ['that does not say from where', {}, 403],
  ];
  for (const [what, headers, status] of origins) {
    test(`${what}: ${status}`, async (t) => {
      const { ask, signIn } = await start(t);
      const all = { 'content-type': form, cookie: alice, ...headers };
      const answer = await ask('/personal-tokens', { method: 'POST', body: create, headers: all });
      assert.equal(answer.status, status, answer.text);
      assert.equal(signIn.issued.size, status === 303 ? 1 : 0);
    });
  }

  const bodies: readonly (readonly [what: string, form: Form, status: number])[] = [
    ['as it should be', { fields: create }, 303],
    ['with a charset', { fields: create, headers: { 'content-type': `${form}; charset=UTF-8` } }, 303],
    ['without its token', { fields: 'label=x&life=86400000' }, 403],
    ['with an empty token', { fields: 'csrf=&label=x&life=86400000' }, 403],
    ['with a wrong token', { fields: 'csrf=wrong&label=x&life=86400000' }, 403],
    ["with another session's token", { fields: 'csrf=csrf-of-bob&label=x&life=86400000' }, 403],
    ['without a session', { fields: create, cookie: 'x=y' }, 400],
    ['of a forged session', { fields: create, cookie: '__Host-registry-session=forged' }, 400],
    ['with a field twice', { fields: `${create}&csrf=csrf-of-alice` }, 400],
    ['with a label twice', { fields: `${create}&label=other` }, 400],
    ['without a life', { fields: 'csrf=csrf-of-alice&label=x' }, 400],
    ['with a life that is no number', { fields: 'csrf=csrf-of-alice&label=x&life=1e9' }, 400],
    ['with a life that is too long', { fields: 'csrf=csrf-of-alice&label=x&life=999999999999' }, 400],
    ['as text', { fields: create, headers: { 'content-type': 'text/plain' } }, 415],
    ['as JSON', { fields: '{}', headers: { 'content-type': 'application/json' } }, 415],
    ['of another type that begins alike', { fields: create, headers: { 'content-type': `${form}x` } }, 415],
    ['that is too large', { fields: `${create}&more=${'x'.repeat(20_000)}` }, 413],
  ];
  for (const [what, sent, status] of bodies) {
    test(`${what}: ${status}`, async (t) => {
      const { post, signIn } = await start(t);
      const answer = await post('/personal-tokens', sent);
      assert.equal(answer.status, status, answer.text);
      if (status !== 303) assertPage(answer, status);
      assert.equal(signIn.issued.size, status === 303 ? 1 : 0);
    });
  }

  test('whose client holds it back until it is asked for (100-continue)', async (t) => {
    const { port } = await start(t);
    const headers = {
      ...{ host: 'docker.test', 'content-type': form, 'sec-fetch-site': 'same-origin', cookie: alice },
      ...{ expect: '100-continue', 'content-length': create.length },
    };
    const path = '/personal-tokens';
    const asked = httpRequest({ host: '127.0.0.1', port, path, method: 'POST', headers, agent: false });
    t.after(() => void asked.destroy());
    asked.once('continue', () => asked.end(create));
    asked.flushHeaders();
    const [answer] = (await once(asked, 'response', { signal: AbortSignal.timeout(5_000) })) as [
      IncomingMessage,
    ];
    answer.resume();
    assert.equal(answer.statusCode, 303);
  });

  test('revokes an own token, and no other', async (t) => {
    const { post, ask, signIn } = await start(t);
    await post('/personal-tokens', { fields: create });
    const bob = { cookie: '__Host-registry-session=session-bob', fields: 'csrf=csrf-of-bob&id=000000000001' };
    assert.equal((await post('/personal-tokens/revoke', bob)).status, 303);
    assert.equal(signIn.issued.size, 1);
    const fields = 'csrf=csrf-of-alice&id=000000000001';
    const wrong = await post('/personal-tokens/revoke', { fields: fields.replace('of-alice', 'of-bob') });
    assert.equal(wrong.status, 403);
    assert.equal(signIn.issued.size, 1);
    const revoked = await post('/personal-tokens/revoke', { fields });
    assert.equal(revoked.status, 303, revoked.text);
    assert.equal(signIn.issued.size, 0);
    const [notice = ''] = /^[^;]+/.exec(cookiesOf(revoked).join()) ?? [];
    const page = await ask('/', { headers: { cookie: `${alice}; ${notice}` } });
    assert.match(page.text, /<p class="notice" role="status">The token is revoked<\/p>/);
    assert.match(page.text, /<title>The token is revoked – docker\.test<\/title>/);
    assert.match(cookiesOf(page).join(), /^__Host-registry-notice=; Max-Age=0;/);
  });

  test('signs out, with its token only', async (t) => {
    const { post } = await start(t);
    assert.equal((await post('/sign-in/out', { fields: 'csrf=wrong' })).status, 403);
    const out = await post('/sign-in/out');
    assert.equal(out.status, 303, out.text);
    assert.match(cookiesOf(out).join('\n'), /^__Host-registry-session=; Max-Age=0;/);
    const again = await post('/sign-in/out', { cookie: 'x=y', fields: '' });
    assert.equal(again.status, 303, 'nobody is signed in any more, which is what was wanted');
  });
});

describe('nothing that people chose gets out of its place', () => {
  const hostile = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    '</code></pre><h1>x</h1>',
    '&quot;&gt;<b>',
    "$(id) `id` ';id;'",
  ];
  for (const text of hostile) {
    test(text, async (t) => {
      const { post, ask } = await start(t);
      const name = encodeURIComponent(text).replaceAll("'", '%27');
      const cookie = `__Host-registry-session=session-${name}`;
      const fields = new URLSearchParams({ csrf: `csrf-of-${name}`, label: text, life: '86400000' });
      const made = await post('/personal-tokens', { cookie, fields: String(fields) });
      assert.equal(made.status, 303, made.text);
      for (const more of ['', '; __Host-registry-new-token=sealed-000000000001']) {
        const answer = await ask('/', { headers: { cookie: cookie + more } });
        assertPage(answer, 200);
        assert.doesNotMatch(answer.text, /<script>|<img|<b>| onfocus='|<\/pre><h1>/);
        assert.ok(answer.text.includes('label'), 'the page is whole');
      }
    });
  }

  test('a notice is one of ours', async (t) => {
    const { ask } = await start(t);
    for (const notice of ['__proto__', 'constructor', '<b>', 'toString']) {
      const { text } = await ask('/', { headers: { cookie: `__Host-registry-notice=${notice}` } });
      assert.doesNotMatch(text, /class="notice"/);
    }
  });
});

describe('what is written of pages', () => {
  test('the audit log: a sign-in with its first token, one created, one revoked', async (t) => {
    const { ask, post, events } = await start(t);
    const cookie = '__Host-registry-sign-in=sealed-state';
    await ask('/sign-in/callback?code=alice', { headers: { cookie } });
    await post('/personal-tokens', { fields: create });
    await post('/personal-tokens/revoke', { fields: 'csrf=csrf-of-alice&id=000000000002' });
    await post('/personal-tokens/revoke', { fields: 'csrf=csrf-of-alice&id=000000000002' });
    await post('/personal-tokens', { fields: 'csrf=wrong&label=x&life=1' });
    await ask('/', { headers: { cookie: alice } });
    await post('/sign-in/out');
    const who = { principal: 'sso:alice', verifier: 'sso', service: 'docker.test', address: '127.0.0.1' };
    const ok = { ...who, result: 'ok', status: 303 };
    assert.deepEqual(
      events.map(({ requestId: _, ...event }) => event),
      [
        { ...ok, event: 'sign-in' },
        { ...ok, event: 'token-created', object: 'token', token: '000000000001' },
        { ...ok, event: 'token-created', object: 'token', token: '000000000002' },
        { ...ok, event: 'token-revoked', object: 'token', token: '000000000002' },
        {
          ...who,
          event: 'token-created',
          result: 'refused',
          status: 403,
          error: 'DENIED',
          reason: "the form does not have its session's token",
        },
      ],
    );
  });

  test('the log and the metrics: no token, no cookie, no code', async (t) => {
    const { ask, post, log, metrics, signIn } = await start(t);
    const cookie = '__Host-registry-sign-in=sealed-state';
    await ask('/sign-in/callback?code=alice&state=a-state', { headers: { cookie } });
    const fresh = `${alice}; __Host-registry-new-token=sealed-000000000001`;
    await ask('/', { headers: { cookie: fresh } });
    await post('/personal-tokens', { fields: create });
    while (log.entries.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      log.entries.map(({ fields: { event, page, status, principal } }) => ({
        event,
        page,
        status,
        principal,
      })),
      ['callback', 'landing', 'create-token'].map((page) => ({
        ...{ event: 'page', page, principal: 'sso:alice' },
        status: page === 'landing' ? 200 : 303,
      })),
    );
    const tokens = [...signIn.issued.values()].map(({ token }) => token.reveal());
    for (const secret of [...tokens, 'a-state', 'code=', 'sealed-', 'session-alice', 'csrf-of']) {
      assert.ok(!log.text.includes(secret), `${secret} in ${log.text}`);
    }
    assert.equal(metrics.value('page_requests_total', { page: 'callback', status: '303' }), 1);
    assert.equal(metrics.value('page_requests_total', { page: 'landing', status: '200' }), 1);
  });
});
