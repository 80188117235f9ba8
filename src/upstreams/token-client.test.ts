import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type LoopbackServer, startLoopbackServer } from '../testing/loopback-server.js';
import { requestToken } from './token-client.js';
import { PooledTransport } from './transport.js';

const now = Date.UTC(2026, 10, 23);
const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const signed = (claims: object) => `${segment({ alg: 'none' })}.${segment(claims)}.c2lnbmVk`;
/** A token that ends so many seconds from now. */
const ending = (seconds: number) => signed({ exp: now / 1000 + seconds });

describe('how long a token is good for', () => {
  let server: LoopbackServer;
  let reply: object = {};
  const timeouts = { connect: 10_000, headers: 10_000, idle: 10_000, commit: 10_000 };
  const transport = new PooledTransport({ timeouts, connections: 2 });
  before(async () => {
    server = await startLoopbackServer((_, response) => response.end(JSON.stringify(reply)));
  });
  after(async () => {
    await transport.close();
    await server.close();
  });

  const table: Readonly<Record<string, readonly [answer: object, lifetime: number]>> = {
    'as the answer says': [{ token: 'opaque', expires_in: 300 }, 300],
    'as it says in a string': [{ token: 'opaque', expires_in: '300' }, 300],
    'at most a day': [{ token: 'opaque', expires_in: 1e9 }, 86_400],
    'a minute where nothing says': [{ token: 'opaque' }, 60],
    'a minute where it says nonsense': [{ token: 'opaque', expires_in: -1 }, 60],
    // Azure Container Registry.
    'as the token says where the answer does not': [{ access_token: ending(4500) }, 4500],
    'less than a minute, where the token says so': [{ token: ending(20) }, 20],
    'at most a day, whatever the token says': [{ token: ending(1e9) }, 86_400],
    'the shorter: the token ends first': [{ token: ending(100), expires_in: 300 }, 100],
    'the shorter: the answer says less': [{ token: ending(300), expires_in: 100 }, 100],
    'a token that has ended by our clock says nothing': [{ token: ending(-10) }, 60],
    'it says nothing beside an answer that does': [{ token: ending(-10), expires_in: 300 }, 300],
    'a token without an end says nothing': [{ token: signed({ sub: 'robot' }) }, 60],
    'nor one whose end is no number': [{ token: signed({ exp: 'soon' }) }, 60],
    'nor what only looks like one': [{ token: `x.${segment({ exp: 1e12 })}.x` }, 60],
  };
  for (const [name, [answer, lifetime]] of Object.entries(table)) {
    test(name, async () => {
      reply = answer;
      const endpoint = { realm: new URL(`${server.url}/token`) };
      const o = { now, signal: AbortSignal.timeout(20_000) };
      const got = await requestToken(transport, endpoint, [], undefined, o);
      assert.equal(got.kind === 'token' ? got.lifetime : got.status, lifetime);
    });
  }
});
