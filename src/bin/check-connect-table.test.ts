import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectionReport } from './check-connect-table.js';
import type { Connection } from './check-connect-tries.js';

const connection = (registry: string): Connection => ({
  upstream: 'images',
  registry,
  credential: { type: 'ecr', setting: 'upstreams.images.credentials', isUsual: true },
  steps: [{ step: 'credential', result: 'fine', said: 'user AWS, for 11h' }],
});

/** The second column, without its heading. */
function hosts(registries: readonly string[], width: number): readonly string[] {
  const lines = connectionReport(registries.map(connection), width)
    .split('\n')
    .slice(1, 1 + registries.length);
  for (const line of lines) assert.ok(line.length <= width, `${line.length}: ${line}`);
  return lines.map((line) => line.split(/ {2,}/)[1] ?? '');
}

const ecr = (account: string, region: string) => `${account}.dkr.ecr.${region}.amazonaws.com`;

describe('the table of connections', () => {
  const long = ecr('123456789012', 'eu-west-1');

  test('has whole hosts where there is room', () => {
    assert.deepEqual(hosts([long], 120), [long]);
  });

  test('uses the width it is given', () => {
    const [narrow = '', wide = ''] = [80, 90].flatMap((width) => hosts([long], width));
    assert.ok(narrow.length < wide.length && wide.length < long.length, `${narrow} ${wide}`);
  });

  for (const [what, registries] of [
    ['two regions', [long, ecr('123456789012', 'us-east-1')]],
    [
      'two regions that end alike',
      [ecr('123456789012', 'ap-southeast-1'), ecr('123456789012', 'ap-northeast-1')],
    ],
    ['two accounts', [long, ecr('123456789099', 'eu-west-1')]],
    ['one twice, and others', [long, long, 'gcr.io', `${'a'.repeat(40)}.example.com`]],
  ] as const) {
    test(`tells hosts apart that it has to shorten: ${what}`, () => {
      const shown = hosts(registries, 80);
      assert.equal(new Set(shown).size, new Set(registries).size, shown.join('\n'));
      assert.ok(
        shown.some((host) => host.includes('…')),
        'nothing had to be shortened',
      );
    });
  }
});
