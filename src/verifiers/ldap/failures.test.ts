import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  BusyError,
  ConfidentialityRequiredError,
  InvalidCredentialsError,
  NoSuchObjectError,
  UnknownStatusCodeError,
  UnwillingToPerformError,
} from 'ldapts';
import { describeError, RegistryError } from '../../errors.js';
import {
  asUnavailable,
  isServerFailure,
  NoAnswer,
  refusalReason,
  refused,
  serviceRefused,
} from './failures.js';

/** As Active Directory says it. */
const windows = (data: string) =>
  new InvalidCredentialsError(
    `80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data ${data}, v2580`,
  );

describe('a bind that a directory refuses', () => {
  for (const [what, error, reason] of [
    ['a wrong password', new InvalidCredentialsError(''), 'unclear'],
    ['a wrong password, AD', windows('52e'), 'wrong password'],
    ['no such user, AD', windows('525'), 'no such user'],
    ['locked, AD', windows('775'), 'the account is locked'],
    ['disabled, AD', windows('533'), 'the account is disabled'],
    ['expired, AD', windows('532'), 'the password has expired'],
    ['another code, AD', windows('7ff'), 'unclear'],
    ['no such entry', new NoSuchObjectError(''), 'no such entry (32)'],
    [
      'inactivated, 389 Directory Server',
      new UnwillingToPerformError('Account inactivated.'),
      'the directory is unwilling to let this entry bind (53), the account may be disabled',
    ],
    ['busy', new BusyError(''), undefined],
    ['TLS demanded', new ConfidentialityRequiredError(''), undefined],
    ['no answer', new NoAnswer('x:636', new Error('gone')), undefined],
  ] as const) {
    test(`${what}: ${reason}`, () => assert.equal(refusalReason(error, 'unclear'), reason));
  }
});

describe('a directory that cannot tell', () => {
  for (const [what, error, reason] of [
    ['no answer', new NoAnswer('x:636', new Error('gone')), /^no answer from x:636: gone$/],
    ['no answer, with a hint', noAnswerWith('CERT_HAS_EXPIRED'), /: its certificate has expired$/],
    ['no TLS there', noAnswerWith('ERR_SSL_WRONG_VERSION_NUMBER'), /is it ldap:\/\/\?$/],
    ['no such base', new NoSuchObjectError(''), /no such object \(32\): is `base` right/],
    ['TLS demanded', new ConfidentialityRequiredError(''), /use ldaps:\/\/ or startTls \(13\)/],
    ['a referral', new UnknownStatusCodeError(10, ''), /referrals are not followed \(10\)/],
    ['anything', new UnknownStatusCodeError(80, ''), /result code \(80\)/],
  ] as const) {
    test(`${what} is UNAVAILABLE`, () => {
      const failure = asUnavailable(error, 'a search');
      assert.ok(failure instanceof RegistryError, 'it is a RegistryError');
      assert.equal(failure.code, 'UNAVAILABLE');
      assert.match(failure.reason ?? '', reason);
    });
  }

  test('leaves all other errors as they are', () => {
    const error = new RegistryError('UNAUTHORIZED');
    assert.equal(asUnavailable(error, 'a search'), error);
  });

  test('that has no time is like one that is not there, and a refusal is not', () => {
    assert.deepEqual([new BusyError(''), new InvalidCredentialsError('')].map(isServerFailure), [
      true,
      false,
    ]);
    const busy = new BusyError('');
    assert.equal(serviceRefused('x:636', busy), busy);
    const refusal = serviceRefused('x:636', new InvalidCredentialsError(''));
    assert.ok(refusal instanceof RegistryError && refusal.code === 'UNAVAILABLE', 'it is UNAVAILABLE');
  });
});

describe('the directory’s own words', () => {
  for (const [what, words, told] of [
    ['are told', 'Account inactivated.', ': Account inactivated. Code: 0x31'],
    ['are not told where they are the code alone', '', ''],
  ] as const) {
    test(what, () => {
      const error = new InvalidCredentialsError(words);
      assert.equal(describeError(refused('wrong password', error)), `UNAUTHORIZED: wrong password${told}`);
      for (const failure of [serviceRefused('x:636', error), asUnavailable(error, 'a search')]) {
        assert.equal(describeError(failure).includes('Code:'), words !== '', describeError(failure));
      }
    });
  }
});

function noAnswerWith(code: string): NoAnswer {
  return new NoAnswer('x:636', Object.assign(new Error('failed'), { code }));
}
