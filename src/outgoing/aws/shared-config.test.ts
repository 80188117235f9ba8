import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSections } from './shared-config.js';

const cases: Readonly<Record<string, readonly [text: string, sections: Record<string, object>]>> = {
  'settings, with spaces and without': ['[a]\nb=1\n c = 2 = 3 \r\n', { a: { b: '1', c: '2 = 3' } }],
  'comments on lines of their own, and after a space': [
    '# x = 1\n[a] ; of a\n; b = 1\nc = 2 # two\nd = e#f;g\n',
    { a: { c: '2', d: 'e#f;g' } },
  ],
  'what stands before the first section': ['a = 1\n[b]\nc = 2\n', { b: { c: '2' } }],
  'a section that comes twice': ['[a]\nb = 1\nc = 1\n[d]\n[a]\nb = 2\n', { a: { b: '2', c: '1' }, d: {} }],
  'settings under another one': [
    '[a]\ns3 =\n  role_arn = x\n  credential_process = y\nb = 1\n',
    { a: { b: '1' } },
  ],
  'a name that objects have': [
    '[__proto__]\nb = 1\n[a]\n__proto__ = 2\n',
    { ['__proto__']: { b: '1' }, a: { ['__proto__']: '2' } },
  ],
  'lines that are no setting': ['[a]\nb\n= c\n[d\n', { a: {} }],
};

describe('a file of AWS with', () => {
  for (const [name, [text, sections]] of Object.entries(cases)) {
    test(name, () => {
      const read = [...parseSections(text)].map(([section, settings]) => [section, [...settings]]);
      const expected = Object.entries(sections).map(([section, settings]) => [
        section,
        Object.entries(settings),
      ]);
      assert.deepEqual(read, expected);
    });
  }
});
