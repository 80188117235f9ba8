import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client';
import { RegistryError } from '../errors.js';
import { reasonOf, signInErrorOf } from './open-id-failure.js';
import type { SignInError } from './sign-in-error.js';

const words = 'the words of another\r\nprogram';

function answered(error: string): AuthorizationResponseError {
  const cause = new URLSearchParams({ error, error_description: words });
  return new AuthorizationResponseError('authorization response from the server is an error', { cause });
}

function refused(status: number, error: string): ResponseBodyError {
  const cause = { error, error_description: words };
  const response = new Response(JSON.stringify(cause), { status });
  return new ResponseBodyError('server responded with an error in the response body', { cause, response });
}

describe('why a sign-in failed', () => {
  const unreached = new RegistryError('UNAVAILABLE', {
    reason: 'no answer from sso.test',
    cause: new Error(words),
  });
  const said = '"the words of another  program"';
  const rows: readonly (readonly [error: Error, kind: SignInError['kind'], reason: string, said: string])[] =
    [
      [answered('access_denied'), 'denied', 'the provider answered "access_denied"', said],
      [answered('server_error'), 'unavailable', 'the provider answered "server_error"', said],
      [
        answered('invalid_scope'),
        'unavailable',
        'the provider answered "invalid_scope": check how this client is registered there',
        said,
      ],
      [
        answered('made up for the audit log'),
        'unavailable',
        'the provider answered with a code of its own: check how this client is registered there',
        `"made up for the audit log": ${said}`,
      ],
      [
        refused(400, 'invalid_grant'),
        'expired',
        `the provider's token endpoint answered 400 "invalid_grant"`,
        said,
      ],
      [
        refused(401, 'invalid_client'),
        'unavailable',
        `the provider's token endpoint answered 401 "invalid_client": check signIn.clientId and signIn.clientSecret`,
        said,
      ],
      [
        refused(400, 'toString'),
        'unavailable',
        `the provider's token endpoint answered 400 with a code of its own`,
        `"toString": ${said}`,
      ],
      [
        new ClientError('something went wrong', { cause: unreached }),
        'unavailable',
        'no answer from sso.test',
        'the words of another program',
      ],
      [new TypeError(words), 'unavailable', 'it failed unexpectedly', 'the words of another program'],
    ];
  for (const [error, kind, reason, toLog] of rows) {
    test(`${reason}: in our words, and beside them in those of others`, () => {
      const failure = signInErrorOf(error);
      assert.deepEqual(
        { kind: failure.kind, reason: failure.reason, said: failure.said, cause: failure.cause },
        { kind, reason, said: toLog, cause: undefined },
      );
      assert.doesNotMatch(`${failure.message} ${reasonOf(error)}`, /words of another|made up|toString/);
    });
  }
});
