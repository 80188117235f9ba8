import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import { type ErrorCode, RegistryError } from '../../errors.js';

/**
 * Makes a fresh subject for one test. What it starts beside the subject it ends with `t.after`. Where it cannot be
 * made here it calls `t.skip` with the reason and returns undefined.
 */
export type MakeSubject<S> = (t: TestContext) => Promise<S | undefined>;

export type SubjectTest<S> = (subject: S, t: TestContext) => Promise<void>;

/**
 * Registers the tests of one contract; each gets its own subject, and never takes longer than half a minute.
 *
 * @param without names of tests that do not apply to the subject: it depends on nothing that could break, say. A test
 *   that is not named here and cannot be made fails.
 */
export function suite<S>(
  title: string,
  make: MakeSubject<S>,
  tests: Readonly<Record<string, SubjectTest<S>>>,
  without: readonly string[] = [],
): void {
  for (const name of without) assert.ok(Object.hasOwn(tests, name), `there is no test '${name}'`);
  describe(title, () => {
    for (const [name, body] of Object.entries(tests)) {
      if (without.includes(name)) continue;
      it(name, { timeout: 30_000 }, async (t) => {
        const subject = await make(t);
        if (subject !== undefined) await body(subject, t);
      });
    }
  });
}

/** Makes subjects as `make` does, and closes what a test used after it. */
export function closing<S>(
  make: MakeSubject<S>,
  closable: (subject: S) => { close(): Promise<void> },
): MakeSubject<S> {
  return async (t) => {
    const subject = await make(t);
    if (subject !== undefined) t.after(() => closable(subject).close());
    return subject;
  };
}

/** For calls that nobody gives up. */
export function options(): { readonly signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

/** The call fails with a RegistryError of one of these codes. */
export async function rejectsWith(
  call: () => Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<RegistryError> {
  const error = await failureOf(call);
  assert.ok(error instanceof RegistryError, `expected a RegistryError, got ${inspect(error)}`);
  assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code}`);
  return error;
}

/** CallOptions: "the call then rejects with the signal's reason". */
export async function rejectsWhenAborted(
  call: (o: { readonly signal: AbortSignal }) => Promise<unknown>,
): Promise<void> {
  const reason = new Error('nobody waits any more');
  assert.equal(await failureOf(() => call({ signal: AbortSignal.abort(reason) })), reason);
}

/** Closable: never rejects; a second call does nothing. */
export async function closesTwice(closable: { close(): Promise<void> }): Promise<void> {
  await closable.close();
  await closable.close();
}

/** Nothing that a log could print of this value or error holds the secret. */
export function keepsSecret(value: unknown, secret: string): void {
  const printed = `${inspect(value, { depth: 10 })} ${JSON.stringify(value)} ${String(value)}`;
  assert.ok(secret !== '' && !printed.includes(secret), 'a secret would be printed');
}

export async function failureOf(call: () => Promise<unknown>): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  assert.fail('expected the call to fail');
}
