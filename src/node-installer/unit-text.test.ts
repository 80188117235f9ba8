import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { environmentValue, readEnvironmentFile } from './environment-text.js';
import { dropInFolders, dropInOrder, lastOf, listOf, parseUnit } from './unit-text.js';
import { expandWords, splitWords, unitWord } from './unit-words.js';

const values = (text: string) =>
  parseUnit(text).map(({ section, key, value }) => `${section}.${key}=${value}`);

describe('the text of a unit (systemd.syntax(7))', () => {
  const cases: readonly (readonly [what: string, text: string, expected: readonly string[]])[] = [
    ['sections, spaces, empty lines', '[Unit]\n\n A = b \n[Service]\nC=d e', ['Unit.A=b', 'Service.C=d e']],
    ['comments', '# a=b\n  ; c=d\n[S]\ne=f # g\n', ['S.e=f # g']],
    ['continued lines', '[S]\na=b \\\n  c \\\n\td\ne=f\n', ['S.a=b    c  \td', 'S.e=f']],
    ['a comment within continued lines', '[S]\na=b \\\n# no \\\n  c\nd=e\n', ['S.a=b    c', 'S.d=e']],
    ['an empty line ends what is continued', '[S]\na=b \\\n\nc=d\n', ['S.a=b', 'S.c=d']],
    ['two backslashes continue nothing', '[S]\na=b\\\\\nc=d\n', ['S.a=b\\\\', 'S.c=d']],
    ['the end continues nothing', '[S]\na=b \\', ['S.a=b']],
    ['a byte order mark, carriage returns', '\uFEFF[S]\r\na=b\r\n', ['S.a=b']],
    ['what is no assignment', '[S]\nabc\n=d\na=b', ['S.a=b']],
    ['before any section', 'a=b\n[S]\n', ['.a=b']],
  ];
  for (const [what, text, expected] of cases) test(what, () => assert.deepEqual(values(text), expected));

  test('an empty assignment takes those before it away, in its section', () => {
    const unit = parseUnit(
      '[Service]\nExecStart=/a\nExecStart=\nExecStart=/b\nExecStart=/c\n[X]\nExecStart=\n',
    );
    assert.deepEqual(
      listOf(unit, 'ExecStart').map(({ value }) => value),
      ['/b', '/c'],
    );
    assert.equal(lastOf(unit, 'ExecStart'), '/c');
    assert.equal(lastOf(unit, 'User'), undefined);
  });

  test('of a command with comments between its lines they are repeated, those behind it are not', () => {
    const [found] = parseUnit('[Service]\nExecStart=/a \\\n# why\n  b \\\n; and\n\n# Nice\nNice=1\n');
    assert.equal(found?.raw, '/a \\\n# why\n  b \\\n; and\n');
    assert.equal(parseUnit('[Service]\nExecStart=/a \\\n# no\n# more')[0]?.raw, '/a \\');
  });

  test('what is repeated of a command is the same bytes', () => {
    const line = fc.string().map((text) => text.replace(/[\n\r\\]/g, ''));
    const lines = fc.array(line, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(lines, (parts) => {
        const raw = parts.map((part, at) => (at === 0 ? part : `x${part}`)).join(' \\\n');
        const [found, ...others] = parseUnit(`[Service]\nExecStart=${raw}\nNice=1\n`);
        assert.equal(found?.raw, raw);
        assert.deepEqual(
          others.map(({ key }) => key),
          ['Nice'],
        );
        // Written out again it is the same command.
        const again = parseUnit(`[Service]\nExecStart=${found?.raw}\n`);
        assert.deepEqual(again, [{ ...found }]);
      }),
    );
  });
});

describe('drop-ins (systemd.unit(5))', () => {
  test('folders of a unit', () => {
    assert.deepEqual(dropInFolders('kubelet.service'), ['kubelet.service.d', 'service.d']);
    assert.deepEqual(dropInFolders('k3s-agent.service'), [
      'k3s-agent.service.d',
      'k3s-.service.d',
      'service.d',
    ]);
  });

  test('the first of a name counts, and names give the order', () => {
    const paths = [
      '/etc/k.d/20-b.conf',
      '/run/k.d/10-a.conf',
      '/usr/lib/k.d/20-b.conf',
      '/etc/service.d/05-x.conf',
    ];
    assert.deepEqual(dropInOrder(paths), [
      '/etc/service.d/05-x.conf',
      '/run/k.d/10-a.conf',
      '/etc/k.d/20-b.conf',
    ]);
  });
});

describe('words of a command (systemd.service(5))', () => {
  const cases: readonly (readonly [text: string, words: readonly string[] | undefined])[] = [
    ['/bin/a  b\tc', ['/bin/a', 'b', 'c']],
    [`--x="a b" 'c "d' e''f ""`, ['--x=a b', 'c "d', 'ef', '']],
    ['a\\x20 b\\sc \\"', ['a\\x20', 'b c', '"']],
    ['"a', undefined],
    ['a\\', undefined],
    ['', []],
  ];
  for (const [text, words] of cases)
    test(JSON.stringify(text), () => assert.deepEqual(splitWords(text), words));

  test('variables: one that stands alone is several words', () => {
    const environment = new Map([
      ['A', `x "y z"`],
      ['B', 'b c'],
    ]);
    const words = expandWords(['$A', '--b=${B}', '$NONE', '${NONE}', '$$A', 'x$A'], environment);
    assert.deepEqual(words, ['x', 'y z', '--b=b c', '', '$A', 'x$A']);
  });

  test('a word of ours is one word again, and nothing is expanded in it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (word) => {
        fc.pre(!/[\n\r\0]/.test(word));
        const [found, ...others] = expandWords(splitWords(unitWord(word)) ?? [], new Map());
        assert.deepEqual([found?.replaceAll('%%', '%'), others], [word, []]);
      }),
    );
  });
});

describe('an EnvironmentFile (systemd.exec(5))', () => {
  test('values, quoted in each way', () => {
    const text = `# A=no\n; B=no\nA=one two  \nB="x \\"y\\" $C \\\\ z"\nC='\\"'\nD=\\\nlong\nA=last\nE=a"b c"d\n`;
    assert.deepEqual(Object.fromEntries(readEnvironmentFile(text)), {
      A: 'last',
      B: 'x "y" $C \\ z',
      C: '\\"',
      D: 'long',
      E: 'ab cd',
    });
  });

  test('a value of ours is read back as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const text = `A=before\nV=${environmentValue(value)}\nB=after\n`;
        assert.deepEqual(
          [...readEnvironmentFile(text)],
          [
            ['A', 'before'],
            ['V', value],
            ['B', 'after'],
          ],
        );
      }),
    );
  });
});
