import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectionHint } from './connection-hint.js';

function failed(code: string, message = 'failed', cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code });
}

describe('the hint for a connection that failed', () => {
  for (const [what, error, hint] of [
    ['DEPTH_ZERO_SELF_SIGNED_CERT', failed('DEPTH_ZERO_SELF_SIGNED_CERT'), /name its authority as `ca`/],
    ['SELF_SIGNED_CERT_IN_CHAIN', failed('SELF_SIGNED_CERT_IN_CHAIN'), /`ca`/],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', failed('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), /`ca`/],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', failed('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), /`ca`/],
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
