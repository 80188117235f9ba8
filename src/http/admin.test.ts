import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLoopbackServer } from '../testing/loopback-server.js';
import { type AdminParts, adminHandler } from './admin.js';

const metrics = { print: async () => 'a 1\n', contentType: 'text/plain; version=0.0.4' };
const parts: AdminParts = { metrics, unready: () => undefined };
const withPages: AdminParts = { ...parts, pages: { '/pulls': async () => ({ running: [] }) } };

const cases: readonly (readonly [
  parts: AdminParts,
  method: string,
  path: string,
  status: number,
  body: string,
])[] = [
  [parts, 'GET', '/livez', 200, 'ok\n'],
  [parts, 'HEAD', '/livez', 200, ''],
  [parts, 'GET', '/readyz?verbose', 200, 'ok\n'],
  [{ ...parts, unready: () => 'draining' }, 'GET', '/readyz', 503, 'draining\n'],
  [{ ...parts, unready: async () => 'not yet' }, 'GET', '/readyz', 503, 'not yet\n'],
  [{ ...parts, unready: () => 'draining' }, 'GET', '/livez', 200, 'ok\n'],
  [parts, 'GET', '/metrics', 200, 'a 1\n'],
  [parts, 'POST', '/metrics', 405, 'method not allowed\n'],
  [parts, 'GET', '/pulls', 404, 'not found: /livez, /readyz, /metrics\n'],
  [withPages, 'GET', '/pulls', 200, '{"running":[]}\n'],
  [withPages, 'GET', '/toString', 404, 'not found: /livez, /readyz, /metrics, /pulls\n'],
];

for (const [given, method, path, status, body] of cases) {
  test(`${method} ${path}: ${status}`, async (t) => {
    const server = await startLoopbackServer(adminHandler(given));
    t.after(() => server.close());
    const answer = await fetch(`${server.url}${path}`, { method });
    assert.equal(answer.status, status);
    assert.equal(await answer.text(), body);
  });
}
