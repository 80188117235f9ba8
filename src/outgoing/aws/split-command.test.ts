import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { splitCommand } from './split-command.js';

// What Python's shlex.split gives for the same lines.

const cases: readonly (readonly [line: string, words: readonly string[] | undefined])[] = [
  ['', []],
  ['  a   b\tc ', ['a', 'b', 'c']],
  ['"/opt/My Tools/run" --for "web app"', ['/opt/My Tools/run', '--for', 'web app']],
  ['a \'b c\'d"e f"', ['a', 'b cde f']],
  ['a \'\' ""', ['a', '', '']],
  ['a\\ b \\"c', ['a b', '"c']],
  ['"a\\"b\\\\c\\d"', ['a"b\\c\\d']],
  ["'a\\b'", ['a\\b']],
  ['a ; b && c | d > e `f` $(g) $H ~ * #i', 'a ; b && c | d > e `f` $(g) $H ~ * #i'.split(' ')],
  ['a "b', undefined],
  ["a 'b", undefined],
  ['a \\', undefined],
];

describe('a command line', () => {
  for (const [line, words] of cases) {
    test(line || 'that is empty', () => assert.deepEqual(splitCommand(line), words));
  }
});
