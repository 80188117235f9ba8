import assert from 'node:assert/strict';
import type { Credential, CredentialSource } from '../../contracts/credential-source.js';
import type { Repository } from '../../reference/repository.js';
import {
  closesTwice,
  closing,
  keepsSecret,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface CredentialSourceSubject {
  readonly source: CredentialSource;
  /** A repository it has a credential for. */
  readonly known: Repository;
  /** A repository it has none for. */
  readonly unknown?: Repository;
  /** What `known` must get, where that is known: `username:password`, or the token. */
  readonly expected?: string;
  /** Makes what stands behind it give another credential from now on. */
  readonly rotate?: () => Promise<void> | void;
  /** Makes what stands behind it unreachable, before anything was asked: it is UNAVAILABLE then. */
  readonly break?: () => Promise<void> | void;
  /** Milliseconds since the epoch, by the source's clock; the system's where it is missing. */
  readonly now?: () => number;
}

const o = options();

/** What every CredentialSource promises. */
export function describeCredentialSourceConformance(
  name: string,
  make: MakeSubject<CredentialSourceSubject>,
  without: readonly string[] = [],
): void {
  suite(
    `CredentialSource conformance: ${name}`,
    closing(make, ({ source }) => source),
    tests,
    without,
  );
}

/** `username:password`, or the token. */
export function revealCredential(credential: Credential): string {
  if (credential.kind === 'basic') return `${credential.username}:${credential.password.reveal()}`;
  return credential.token.reveal();
}

const tests: Record<string, SubjectTest<CredentialSourceSubject>> = {
  'it gives a credential for a repository it knows': async ({ source, known, expected, now = Date.now }) => {
    const credential = await source.credentialFor(known, o);
    assert.ok(credential, 'no credential');
    if (expected !== undefined) assert.equal(revealCredential(credential), expected);
    if (credential.expiresAt !== undefined) assert.ok(credential.expiresAt > now(), 'it has expired');
    keepsSecret(credential, (credential.kind === 'basic' ? credential.password : credential.token).reveal());
  },
  'asked many times at once it gives the same': async ({ source, known }) => {
    const all = await Promise.all(Array.from({ length: 8 }, () => source.credentialFor(known, o)));
    assert.equal(new Set(all.map((credential) => credential && revealCredential(credential))).size, 1);
  },
  'it has none for a repository it does not know': async ({ source, unknown }) => {
    assert.ok(unknown, 'the subject names none it does not know: leave this test out by name');
    assert.equal(await source.credentialFor(unknown, o), undefined);
  },
  'a rejected credential does not come again from a cache': async ({ source, known, rotate }) => {
    assert.ok(rotate, 'the subject does not rotate: leave this test out by name');
    const rejected = await source.credentialFor(known, o);
    assert.ok(rejected, 'no credential');
    await rotate();
    const next = await source.credentialFor(known, { ...o, rejected });
    assert.ok(next, 'no credential after the rejected one');
    assert.notEqual(revealCredential(next), revealCredential(rejected));
    const after = await source.credentialFor(known, o);
    assert.equal(after && revealCredential(after), revealCredential(next));
  },
  'where it cannot be had now it is UNAVAILABLE, never undefined': async ({
    source,
    known,
    break: breakIt,
  }) => {
    assert.ok(breakIt, 'the subject cannot be broken: leave this test out by name');
    await breakIt();
    await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
  },
  'an aborted call rejects with the reason': ({ source, known }) =>
    rejectsWhenAborted((aborted) => source.credentialFor(known, aborted)),
  'it can be closed twice': ({ source }) => closesTwice(source),
};
