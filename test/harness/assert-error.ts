import assert from 'node:assert/strict';
import type { Answer } from './client.js';

/** OCI distribution-spec v1.1, "Error Codes": the body's form, and nothing of our inside in it. */
export function assertErrorBody(text: string, code: string): void {
  const document = JSON.parse(text) as { errors?: { code?: unknown; message?: unknown }[] };
  assert.deepEqual(Object.keys(document), ['errors'], text);
  assert.equal(document.errors?.length, 1, text);
  const [error] = document.errors ?? [];
  assert.equal(error?.code, code, text);
  assert.equal(typeof error?.message, 'string', text);
  for (const key of Object.keys(error ?? {})) assert.ok(['code', 'message', 'detail'].includes(key), text);
  assert.doesNotMatch(
    text,
    /\bat .+:\d+:\d+|node_modules|\.[jt]s\b|ECONN|node:/,
    'a stack or a message of our inside',
  );
}

export function assertError(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  assertErrorBody(answer.text, code);
}
