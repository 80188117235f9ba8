import assert from 'node:assert/strict';
import { describeError, RegistryError } from '../../../src/errors.js';

/** The call fails with a RegistryError of this code, and a reason that says so much. */
export async function refusedBy(
  call: Promise<unknown>,
  code: string,
  reason: RegExp,
): Promise<RegistryError> {
  const error = await call.then(
    (value) => assert.fail(`expected a refusal, got ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, `expected a RegistryError, got ${describeError(error)}`);
  assert.equal(error.code, code, describeError(error));
  assert.match(error.reason ?? '', reason);
  return error;
}
