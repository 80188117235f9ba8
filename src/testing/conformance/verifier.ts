import assert from 'node:assert/strict';
import type { Principal } from '../../contracts/principal.js';
import type { ClientCredentials, Verifier } from '../../contracts/verifier.js';
import { Secret } from '../../secret.js';
import {
  closesTwice,
  closing,
  failureOf,
  keepsSecret,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface VerifierSubject {
  readonly verifier: Verifier;
  /** Its configured id. */
  readonly id: string;
  /** Credentials it vouches for, and what the principal is, as far as it is known. */
  readonly valid: readonly {
    readonly credentials: ClientCredentials;
    readonly principal: { readonly name: string } & Partial<Principal>;
  }[];
  /** Its own kind, and wrong: UNAUTHORIZED. */
  readonly invalid: readonly ClientCredentials[];
  /** Not its own: undefined. `none` is added. */
  readonly foreign: readonly ClientCredentials[];
  /** Makes what it depends on unreachable: valid credentials are UNAVAILABLE then. */
  readonly break?: () => Promise<void> | void;
  /** Removes a principal, so that `recheck` no longer finds it. */
  readonly remove?: (name: string) => Promise<void> | void;
}

const o = options();
const connection = { address: '192.0.2.1' };
const none: ClientCredentials = { shown: { kind: 'none' }, connection };

/** What every Verifier promises. */
export function describeVerifierConformance(
  name: string,
  make: MakeSubject<VerifierSubject>,
  without: readonly string[] = [],
): void {
  suite(
    `Verifier conformance: ${name}`,
    closing(make, ({ verifier }) => verifier),
    { ...answers, ...failures, ...rechecks },
    without,
  );
}

/** A user and password, as a client shows them. */
export function passwordCredentials(username: string, password: string): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret(password) }, connection };
}

/** A bearer token, as a client shows it. */
export function bearerCredentials(token: string): ClientCredentials {
  return { shown: { kind: 'bearer', token: new Secret(token) }, connection };
}

const answers: Record<string, SubjectTest<VerifierSubject>> = {
  'valid credentials give the principal, under this verifier’s id': async ({ verifier, valid, id }) => {
    assert.ok(valid.length > 0, 'the subject names no valid credentials');
    for (const { credentials, principal } of valid) {
      const found = await verifier.verify(credentials, o);
      assert.ok(found, 'it is not recognised');
      assert.equal(found.verifier, id);
      assert.deepEqual({ ...found, ...principal }, found);
      assert.ok(
        found.groups.every((group) => !group.startsWith(`${id}:`)),
        'groups are unqualified',
      );
      assert.ok(verifier.givesGroups !== false || found.groups.length === 0, 'it gives groups all the same');
      assert.ok(
        found.name !== '' && !found.name.startsWith(`${id}:`),
        'a name is not empty, and unqualified',
      );
    }
  },
  'the same credentials shown many times at once give the same principal': async ({ verifier, valid }) => {
    const [first] = valid;
    assert.ok(first, 'the subject names no valid credentials');
    const found = await Promise.all(Array.from({ length: 8 }, () => verifier.verify(first.credentials, o)));
    assert.ok(
      found.every((one) => one?.name === first.principal.name),
      'another principal',
    );
  },
  'foreign credentials are left to the next verifier': async ({ verifier, foreign }) => {
    for (const credentials of [none, ...foreign]) {
      assert.equal(await verifier.verify(credentials, o), undefined);
    }
  },
  'it recognises none that it leaves to others': ({ verifier, foreign }) => {
    for (const credentials of [none, ...foreign])
      assert.equal(verifier.recognises?.(credentials) ?? false, false);
    return Promise.resolve();
  },
};

const failures: Record<string, SubjectTest<VerifierSubject>> = {
  'invalid credentials are UNAUTHORIZED, and the error does not tell them': async ({ verifier, invalid }) => {
    for (const credentials of invalid) {
      const error = await rejectsWith(() => verifier.verify(credentials, o), 'UNAUTHORIZED');
      const secret = secretOf(credentials);
      if (secret) keepsSecret(error, secret);
    }
  },
  'an empty password is never valid': async ({ verifier, valid }) => {
    for (const { credentials } of valid) {
      if (credentials.shown.kind !== 'password') continue;
      const empty = passwordCredentials(credentials.shown.username, '');
      const outcome = await verifier.verify(empty, o).catch(() => undefined);
      assert.equal(outcome, undefined);
    }
  },
  'where it cannot verify now it is UNAVAILABLE, never undefined': async ({
    verifier,
    valid,
    break: breakIt,
  }) => {
    const [first] = valid;
    assert.ok(breakIt && first, 'the subject cannot be broken: leave this test out by name');
    await breakIt();
    await rejectsWith(() => verifier.verify(first.credentials, o), 'UNAVAILABLE');
  },
  'an aborted call rejects with the reason': async ({ verifier, valid }) => {
    const [first] = valid;
    assert.ok(first, 'the subject names no valid credentials');
    await rejectsWhenAborted((aborted) => verifier.verify(first.credentials, aborted));
  },
  'it can be closed twice': ({ verifier }) => closesTwice(verifier),
};

const rechecks: Record<string, SubjectTest<VerifierSubject>> = {
  'recheck finds a principal it vouched for, and not one that is gone': async ({
    verifier,
    valid,
    remove,
  }) => {
    const [first] = valid;
    assert.ok(first, 'the subject names no valid credentials');
    assert.ok(verifier.recheck, 'it has no recheck: leave this test out by name');
    const found = await verifier.verify(first.credentials, o);
    assert.ok(found, 'it is not recognised');
    const again = await verifier.recheck(found, o);
    assert.deepEqual([again?.verifier, again?.name, again?.kind], [found.verifier, found.name, found.kind]);
    assert.deepEqual(again?.groups, found.groups);
    if (!remove) return;
    await remove(found.name);
    assert.equal(await verifier.recheck(found, o), undefined);
  },
  'recheck is UNAVAILABLE where it cannot find out': async ({ verifier, valid, break: breakIt }) => {
    const [first] = valid;
    assert.ok(verifier.recheck && breakIt && first, 'it cannot be broken: leave this test out by name');
    const found = await verifier.verify(first.credentials, o);
    assert.ok(found, 'it is not recognised');
    await breakIt();
    const error = await failureOf(async () => verifier.recheck?.(found, o));
    await rejectsWith(() => Promise.reject(error), 'UNAVAILABLE');
  },
};

function secretOf({ shown }: ClientCredentials): string | undefined {
  if (shown.kind === 'none') return undefined;
  return (shown.kind === 'password' ? shown.password : shown.token).reveal() || undefined;
}
