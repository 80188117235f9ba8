import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

// A link from one document to another, or to a heading, leads somewhere. Those to other hosts are not followed.

const root = fileURLToPath(new URL('../..', import.meta.url));

function documents(): readonly string[] {
  const below = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
      .map((name) => join(folder, name));
  return ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...below('docs'), ...below('examples')];
}

/** Without what is code: a `[x](y)` there is no link, and a `#` no heading. */
function proseOf(text: string): string {
  return text
    .replace(/^(```|~~~)[\s\S]*?^\1$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}

/** As GitHub makes them of headings: a second heading of the same words gets a number. */
function anchorsOf(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, title = ''] of proseOf(text).matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const words = title.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const plain = words.replace(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, '').replaceAll(' ', '-');
    let anchor = plain;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${plain}-${n}`;
    anchors.add(anchor);
  }
  for (const [, name = ''] of text.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(name);
  return anchors;
}

function linksOf(text: string): readonly string[] {
  const prose = proseOf(text);
  const inline = prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g);
  const referred = prose.matchAll(/^\[[^\]]+\]:\s+(\S+)/gm);
  return [...inline, ...referred].map(([, to = '']) => to).filter((to) => !/^[a-z][a-z+.-]*:/i.test(to));
}

/** @returns why it leads nowhere, or undefined */
function deadEnd(document: string, text: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#');
  const file =
    path === '' ? document : relative(root, join(root, dirname(document), decodeURIComponent(path)));
  if (file.startsWith('..')) return 'outside of the repository';
  if (file !== document && !existsSync(join(root, file))) return 'no such file';
  if (anchor === undefined) return undefined;
  const target = file === document ? text : readFileSync(join(root, file), 'utf8');
  return anchorsOf(target).has(anchor) ? undefined : `no such heading in ${file}`;
}

const deadEnds = (document: string, text: string) =>
  linksOf(text).flatMap((link) => {
    const why = deadEnd(document, text, link);
    return why === undefined ? [] : [`${link}: ${why}`];
  });

describe('links between documents', () => {
  const all = documents().map((name) => [name, readFileSync(join(root, name), 'utf8')] as const);
  for (const [name, text] of all) test(name, () => assert.deepEqual(deadEnds(name, text), []));

  test('are found', () => {
    const links = all.flatMap(([, text]) => linksOf(text));
    assert.ok(links.length > 100, `${links.length} links`);
    assert.ok(links.filter((link) => link.includes('#')).length > 20, 'few anchors');
  });

  test('that lead nowhere would be found', () => {
    const text = [
      ...['# A heading, `code` & more', '## Twice', '## Twice', '```', '# none', '[x](no-file.md)', '```'],
      ...[
        '`[x](no-file.md)`',
        '[x](#a-heading-code--more) [x](#twice-1) [x](https://example.com/no-file.md)',
      ],
      ...[
        '[x](#none) [x](#twice-2) ![x](images/none.png "t") [x](upstreams.md#none) [x](../../etc/passwd)',
        '[y]: gone.md',
      ],
    ].join('\n');
    const found = deadEnds('docs/made-up.md', text);
    const expected = [
      '#none',
      '#twice-2',
      'images/none.png',
      'upstreams.md#none',
      '../../etc/passwd',
      'gone.md',
    ];
    assert.deepEqual(
      found.map((one) => one.slice(0, one.indexOf(': '))),
      expected,
    );
  });
});
