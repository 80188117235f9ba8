import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { describeError, type ErrorCode, errorTable, hasCode, ofKnownUser, RegistryError } from './errors.js';

describe('the error table', () => {
  for (const [code, row] of Object.entries(errorTable)) {
    it(`${code} has an HTTP error status, a gRPC error status and a message`, () => {
      assert.ok(row.http >= 400 && row.http <= 599, 'row.http >= 400 && row.http <= 599');
      assert.ok(row.grpc >= 1 && row.grpc <= 16, 'row.grpc >= 1 && row.grpc <= 16');
      assert.notEqual(row.message, '');
      const error = new RegistryError(code as ErrorCode);
      assert.equal(error.status, row.http);
      assert.equal(error.message, row.message);
    });
  }

  // OCI distribution-spec v1.1, "Error Codes", and distribution's errcode.
  for (const [code, http, grpc] of [
    ['UNAUTHORIZED', 401, 16],
    ['DENIED', 403, 7],
    ['NAME_UNKNOWN', 404, 5],
    ['MANIFEST_UNKNOWN', 404, 5],
    ['BLOB_UNKNOWN', 404, 5],
    ['UNSUPPORTED', 405, 12],
    ['RANGE_INVALID', 416, 11],
    ['TOOMANYREQUESTS', 429, 8],
    ['UNAVAILABLE', 503, 14],
    ['UNKNOWN', 500, 2],
  ] as const) {
    it(`${code} is ${http} and ${grpc}`, () => {
      assert.deepEqual([errorTable[code].http, errorTable[code].grpc], [http, grpc]);
    });
  }
});

describe('RegistryError', () => {
  it('keeps what it is told, and its cause', () => {
    const cause = new Error('inner');
    const error = new RegistryError('DENIED', {
      message: 'no',
      detail: { a: 1 },
      reason: 'why',
      cause,
      status: 409,
      retryAfter: 3,
      bearerError: 'invalid_token',
      knownUser: true,
      countsAsGuess: true,
    });
    const { code, message, detail, reason, status, retryAfter, bearerError, knownUser, countsAsGuess } =
      error;
    assert.deepEqual(
      { code, message, detail, reason, status, retryAfter, bearerError, knownUser, countsAsGuess },
      {
        code: 'DENIED',
        message: 'no',
        detail: { a: 1 },
        reason: 'why',
        status: 409,
        retryAfter: 3,
        bearerError: 'invalid_token',
        knownUser: true,
        countsAsGuess: true,
      },
    );
    assert.equal(error.cause, cause);
    const plain = new RegistryError('DENIED');
    assert.deepEqual([plain.knownUser, plain.countsAsGuess, 'cause' in plain], [false, false, false]);
  });

  it('is said of a user who was found only where it is a refusal', () => {
    const cause = new Error('inner');
    const refused = ofKnownUser(new RegistryError('UNAUTHORIZED', { reason: 'wrong password', cause }));
    assert.ok(refused instanceof RegistryError, 'no RegistryError');
    const { code, reason, knownUser } = refused;
    assert.deepEqual(
      [code, reason, refused.cause, knownUser],
      ['UNAUTHORIZED', 'wrong password', cause, true],
    );
    for (const error of [new RegistryError('UNAVAILABLE'), cause, undefined])
      assert.equal(ofKnownUser(error), error);
  });
});

it('hasCode knows the code of an error of Node', () => {
  assert.ok(
    hasCode(Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT'),
    "hasCode(Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT')",
  );
  assert.ok(
    !hasCode(Object.assign(new Error('x'), { code: 'EACCES' }), 'ENOENT'),
    "!hasCode(Object.assign(new Error('x'), { code: 'EACCES' }), 'ENOENT')",
  );
  assert.ok(!hasCode({ code: 'ENOENT' }, 'ENOENT'), "!hasCode({ code: 'ENOENT' }, 'ENOENT')");
});

describe('describeError', () => {
  const long = (depth: number): Error =>
    new Error(`e${depth}`, depth === 0 ? {} : { cause: long(depth - 1) });
  for (const [name, error, text] of [
    ['an error', new Error('a'), 'a'],
    ['its causes', new Error('a', { cause: new Error('b', { cause: 'c' }) }), 'a: b: c'],
    ['the reason, not the public message', new RegistryError('DENIED', { reason: 'r' }), 'DENIED: r'],
    ['a public message without reason', new RegistryError('DENIED'), errorTable.DENIED.message],
    [
      'no cause that the message tells already',
      new Error('token: EACCES: no', { cause: new Error('EACCES: no', { cause: new Error('x') }) }),
      'token: EACCES: no: x',
    ],
    ['the same message once', new Error('a', { cause: new Error('a') }), 'a'],
    [
      'a code where there is no message',
      Object.assign(new Error(''), { code: 'ECONNREFUSED' }),
      'ECONNREFUSED',
    ],
    ['a name where there is nothing else', new TypeError(''), 'TypeError'],
    ['the first of several', new AggregateError([new Error('a'), new Error('b')], 'all'), 'all: a'],
    ['several of none', new AggregateError([], 'all'), 'all'],
    ['a few causes of many', long(20), 'e20: e19: e18: e17: e16: e15'],
    ['a message of several lines', new Error('a\n  b\r\nc'), 'a b c'],
    ['a text', 'a\nb', 'a b'],
    ['nothing', undefined, ''],
  ] as const) {
    it(`tells ${name}`, () => assert.equal(describeError(error), text));
  }

  it('is one line for what a schema found', () => {
    const found = z.strictObject({ a: z.string(), b: z.number() }).safeParse({ c: 1 }).error;
    assert.doesNotMatch(describeError(new Error('bad', { cause: found })), /[\r\n]/);
  });

  it('ends for an error that is its own cause', () => {
    const error = new Error('a');
    error.cause = error;
    assert.equal(describeError(error), 'a');
  });

  it('is one line for anything that can be thrown', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (thrown) => {
        assert.doesNotMatch(describeError(thrown), /[\r\n]/);
        assert.doesNotMatch(describeError(new Error(String(thrown === null), { cause: thrown })), /[\r\n]/);
      }),
    );
  });
});
