import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServiceReport } from './service-report.js';
import { byteSize, elapsed, statusText } from './status-table.js';

const now = Date.parse('2026-01-31T12:00:00Z');
const empty: ServiceReport = {
  program: 'kubelet-image-service',
  version: '1.2.3',
  startedAt: '2026-01-30T12:00:00.123Z',
  runtime: { type: 'cri', endpoint: 'unix:///run/c.sock', connected: true },
  rules: [],
  running: [],
  recent: [],
};

describe('the status', () => {
  test('of a service that has done nothing', () => {
    assert.equal(
      statusText(empty, now),
      [
        'kubelet-image-service 1.2.3, serving since 2026-01-30T12:00:00Z',
        'runtime: cri unix:///run/c.sock, connected',
        '',
        'no rules: images are pulled as kubelet asks for them',
        '',
        'no pulls yet',
        '',
      ].join('\n'),
    );
  });

  test('of one that pulls', () => {
    const pod = { namespace: 'shop', name: 'web-0', uid: 'u-1' };
    const startedAt = '2026-01-31T11:59:00Z';
    const report: ServiceReport = {
      ...empty,
      runtime: { type: 'docker', connected: false },
      rules: [
        {
          name: 'docker.example.com/**',
          source: 'aws-identity',
          credential: { result: 'obtained', at: '2026-01-31T11:55:00Z', expiresAt: '2026-01-31T13:00:00Z' },
        },
        { name: 'a.internal/**', source: 'exec' },
        {
          name: 'b.internal/**',
          source: 'ecr',
          credential: { result: 'failed', at: '2026-01-31T11:59:57Z', reason: 'no route' },
        },
        { name: 'c.internal/**', source: 'docker-config', credential: { result: 'none', at: startedAt } },
        {
          name: 'e.internal/**',
          source: 'static',
          credential: { result: 'obtained', at: startedAt },
          refused: { at: '2026-01-31T11:58:00Z', registry: 'e.internal' },
        },
        { name: 'd.internal/**' },
      ],
      running: [
        {
          ...{ image: 'docker.example.com/app:1', pod, credential: 'rule', rule: 'docker.example.com/**' },
          ...{ source: 'aws-identity', state: 'pulling', attempt: 1, startedAt, duration: 60_000 },
          ...{ bytes: 123_456_789, layers: { done: 3, total: 7 } },
        },
      ],
      recent: [
        {
          ...{ image: 'busybox', credential: 'none', state: 'failed', attempt: 1, startedAt, duration: 800 },
          error: 'no such host\u001b[31m',
        },
      ],
    };
    assert.equal(
      statusText(report, now),
      [
        'kubelet-image-service 1.2.3, serving since 2026-01-30T12:00:00Z',
        'runtime: docker, NOT CONNECTED',
        '',
        'RULE                   SOURCE         CREDENTIAL',
        'docker.example.com/**  aws-identity   had 5m0s ago, until 2026-01-31T13:00:00Z',
        'a.internal/**          exec           not asked for yet',
        'b.internal/**          ecr            FAILED 3.0s ago: no route',
        'c.internal/**          docker-config  its source had none, 1m0s ago',
        'e.internal/**          static         refused 2m0s ago (401 from e.internal)',
        'd.internal/**          -              none',
        '',
        'STATE    IMAGE                     POD         CREDENTIAL    TIME  PROGRESS            ERROR',
        'pulling  docker.example.com/app:1  shop/web-0  aws-identity  1m0s  123 MB, 3/7 layers',
        'failed   busybox                   -           none          0.8s  -                   no such host\uFFFD[31m',
        '',
      ].join('\n'),
    );
  });

  test('cuts what went wrong, and nothing else', () => {
    const startedAt = '2026-01-31T11:59:00Z';
    const long = 'x'.repeat(300);
    const failed = { result: 'failed', at: startedAt, reason: long } as const;
    const text = statusText(
      {
        ...empty,
        rules: [{ name: `${long}/**`, source: 'ecr', credential: failed }],
        recent: [
          {
            ...{ image: `a.b/${long}`, credential: 'none', state: 'failed', attempt: 1, startedAt },
            ...{ duration: 800, error: long },
          },
        ],
      },
      now,
    );
    assert.match(text, / FAILED 1m0s ago: x{99}…$/m);
    assert.match(text, / 0\.8s +- +x{99}…$/m);
    assert.match(text, /^x{300}\/\*\* /m);
    assert.match(text, / a\.b\/x{300} /);
  });
});

for (const [bytes, expected] of [
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [9_949, '9.9 kB'],
  [9_960, '10 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [1.25e9, '1.3 GB'],
  [5e15, '5000 TB'],
] as const) {
  test(`${bytes} bytes are ${expected}`, () => assert.equal(byteSize(bytes), expected));
}

for (const [duration, expected] of [
  [0, '0.0s'],
  [840, '0.8s'],
  [9_949, '9.9s'],
  [9_950, '10s'],
  [59_499, '59s'],
  [59_500, '1m0s'],
  [3_599_000, '59m59s'],
  [3_600_000, '1h0m'],
  [172_740_000, '47h59m'],
  [172_800_000, '2d'],
] as const) {
  test(`${duration} ms are ${expected}`, () => assert.equal(elapsed(duration), expected));
}
