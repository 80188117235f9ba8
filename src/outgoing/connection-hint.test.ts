import assert from 'node:assert/strict';
import { get } from 'node:https';
import { describe, test } from 'node:test';
import { certify, createAuthority, type TestCertificate } from '../testing/certificates.js';
import { startLoopbackServer } from '../testing/loopback-server.js';
import { connectionFault, connectionHint } from './connection-hint.js';

function failed(code: string, message = 'failed', cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code });
}

describe('the hint for a connection that failed', () => {
  for (const [what, error, hint] of [
    ['DEPTH_ZERO_SELF_SIGNED_CERT', failed('DEPTH_ZERO_SELF_SIGNED_CERT'), /name its authority as `ca`/],
    ['SELF_SIGNED_CERT_IN_CHAIN', failed('SELF_SIGNED_CERT_IN_CHAIN'), /`ca`/],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', failed('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), /`ca`/],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', failed('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), /`ca`/],
    ['CERT_SIGNATURE_FAILURE', failed('CERT_SIGNATURE_FAILURE'), /is `ca` an old one/],
    ['CERT_HAS_EXPIRED', failed('CERT_HAS_EXPIRED'), /expired/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', failed('ERR_TLS_CERT_ALTNAME_INVALID'), /for another name/],
    ['ERR_SSL_WRONG_VERSION_NUMBER', failed('ERR_SSL_WRONG_VERSION_NUMBER'), /is it http:\/\//],
    ['EPROTO', failed('EPROTO', 'write EPROTO wrong version number'), /is it http:\/\//],
    ['EPROTO after an alert', failed('EPROTO', 'write EPROTO sslv3 alert handshake failure'), undefined],
    ['ENOTFOUND', failed('ENOTFOUND'), /cannot be resolved/],
    ['EAI_AGAIN', failed('EAI_AGAIN'), /cannot be resolved/],
    ['what is behind another error', failed('UND_ERR_X', 'failed', failed('ENOTFOUND')), /resolved/],
    ['the first of several addresses', new AggregateError([failed('ENOTFOUND')]), /resolved/],
    ['ECONNREFUSED', failed('ECONNREFUSED'), undefined],
    ['a code like a member of every object', failed('constructor'), undefined],
    ['no error', 'ENOTFOUND', undefined],
  ] as const) {
    test(`${what}: ${hint}`, () => {
      const said = connectionHint(error);
      if (hint === undefined) assert.equal(said, undefined);
      else assert.match(said ?? '', hint);
    });
  }

  test('ends where an error is its own cause', () => {
    const error = new Error('round');
    error.cause = error;
    assert.equal(connectionHint(error), undefined);
  });
});

describe('the fault of a connection', () => {
  for (const [error, what] of [
    [failed('ECONNREFUSED'), 'the connection is refused'],
    [failed('UND_ERR_CONNECT_TIMEOUT'), 'it cannot be reached'],
    [failed('UND_ERR_SOCKET'), 'it closed the connection'],
    [failed('ENOTFOUND'), 'its name cannot be resolved'],
    [
      failed('UND_ERR_ABORTED', 'Proxy response (502) !== 200 when HTTP Tunneling'),
      'the proxy does not lead there',
    ],
    [failed('UND_ERR_ABORTED', 'Request aborted'), undefined],
    [failed('EPROTO', 'write EPROTO sslv3 alert handshake failure'), undefined],
    [failed('constructor'), undefined],
  ] as const) {
    test(`${error.message} (${Reflect.get(error, 'code')}): ${what}`, () => {
      assert.equal(connectionFault(error)?.what, what);
    });
  }

  test('has something to do about it, and none of the words of the other side', () => {
    const fault = connectionFault(failed('UND_ERR_SOCKET', 'secret words'));
    assert.ok(fault !== undefined && fault.fix !== '', 'nothing to do');
    assert.doesNotMatch(JSON.stringify(fault), /secret words/);
  });
});

describe('a server whose authority was made anew', () => {
  test('is not trusted by the old certificate of the same name, and it is told why', async (t) => {
    const [before, now] = [await createAuthority(), await createAuthority()];
    const own = await certify(now, { name: 'localhost' });
    const server = await startLoopbackServer((_, response) => response.end(), {
      tls: { cert: own.certificate, key: own.privateKey },
    });
    t.after(() => server.close());
    const ask = (authority: TestCertificate) =>
      new Promise((resolve, reject) => {
        const asked = get(server.url, { ca: authority.certificate, agent: false }, (answer) => {
          answer.resume().once('end', () => resolve(undefined));
        });
        asked.once('error', reject);
      });
    const error = await ask(before).catch((thrown: unknown) => thrown);
    assert.match(connectionHint(error) ?? '', /another key than `ca` has/);
    assert.match(connectionFault(error)?.fix ?? '', /Take the present one/);
    assert.equal(await ask(now), undefined);
  });
});
