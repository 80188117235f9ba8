import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { unifiedDiff } from './diff.js';

const lines = (...texts: readonly string[]) => texts.map((text) => `${text}\n`).join('');
const numbers = Array.from({ length: 20 }, (_, at) => String(at + 1));

describe('a unified diff', () => {
  const cases: readonly (readonly [
    what: string,
    before: string | undefined,
    after: string | undefined,
    diff: string,
  ])[] = [
    ['nothing', 'a\n', 'a\n', ''],
    ['a new file', undefined, 'a\nb\n', lines('--- /dev/null', '+++ /f', '@@ -0,0 +1,2 @@', '+a', '+b')],
    ['a file that goes', 'a\n', undefined, lines('--- /f', '+++ /dev/null', '@@ -1,1 +0,0 @@', '-a')],
    [
      'a last line without an end',
      'a',
      'a\n',
      lines('--- /f', '+++ /f', '@@ -1,1 +1,1 @@', '-a', '\\ No newline at end of file', '+a'),
    ],
    [
      'two places',
      lines(...numbers),
      lines(...numbers.filter((one) => one !== '2'), '21'),
      lines(
        ...['--- /f', '+++ /f', '@@ -1,5 +1,4 @@', ' 1', '-2', ' 3', ' 4', ' 5'],
        ...['@@ -18,3 +17,4 @@', ' 18', ' 19', ' 20', '+21'],
      ),
    ],
  ];
  for (const [what, before, after, diff] of cases) {
    test(what, () => assert.equal(unifiedDiff('/f', before, after), diff));
  }
});
