import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTimeSpan } from './time-span.js';

// Rows without undefined are those of systemd.time(7), or were tried with `systemd-analyze timespan`.
const rows: readonly (readonly [text: string, milliseconds: number | undefined])[] = [
  ['2 h', 7_200_000],
  ['2hours', 7_200_000],
  ['48hr', 172_800_000],
  ['1y 12month', 31_557_600_000 + 12 * 2_629_800_000],
  ['55s500ms', 55_500],
  ['300ms20s 5day', 300 + 20_000 + 5 * 86_400_000],
  ['1.5min', 90_000],
  ['20', 20_000],
  ['0', 0],
  [' 5 min 20 s ', 320_000],
  ['2m', 120_000],
  ['500us', 0.5],
  ['infinity', Number.POSITIVE_INFINITY],
  ['', undefined],
  ['soon', undefined],
  ['5 parsecs', undefined],
  ['-5s', undefined],
  ['5s,', undefined],
];

for (const [text, milliseconds] of rows) {
  test(JSON.stringify(text), () => assert.equal(readTimeSpan(text), milliseconds));
}
