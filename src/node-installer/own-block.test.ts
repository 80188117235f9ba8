import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { InstallMode } from './node.js';
import { beginLine, blockOf, endLine, withBlock, withoutBlock } from './own-block.js';
import { dropInText, guardServiceText, guardTimerText, lostServiceText, serviceText } from './own-files.js';

const block = (...lines: readonly string[]) => [beginLine, ...lines, endLine, ''].join('\n');
const ours = block('[Service]', 'ExecStart=', 'ExecStart=/bin/kubelet \\', '  --one $V');

const anyText = fc
  .array(
    fc.oneof(
      fc.string(),
      fc.constantFrom('[Service]', 'ExecStart=', '# $& $1', '\\', ' ', '\r', '', ours.slice(0, 20)),
    ),
  )
  .chain((lines) => fc.constantFrom('\n', '').map((last) => lines.join('\n') + last));

describe('our part of a file', () => {
  test('is taken out of any text to the byte', () => {
    fc.assert(
      fc.property(anyText, fc.array(fc.string()), (text, lines) => {
        fc.pre(blockOf(text) === undefined && !lines.join('\n').includes('#'));
        const own = block(...lines.map((line) => line.replace(/\n/g, '')));
        const whole = withBlock(text, own);
        assert.equal(blockOf(whole), own);
        const rest = withoutBlock(whole, own);
        assert.equal(rest ?? '', text);
        assert.equal(withBlock(whole, own), whole, 'putting it there again changes nothing');
      }),
    );
  });

  test('is a file of its own where nothing else is there', () => {
    assert.equal(withBlock(undefined, ours), ours);
    assert.equal(withoutBlock(ours, ours), undefined);
  });

  test('is replaced where it stands', () => {
    const text = `[Service]\nNice=1\n${ours}# theirs\n`;
    const next = block('[Service]', 'EnvironmentFile=-/run/$&');
    assert.equal(withBlock(text, next), `[Service]\nNice=1\n${next}# theirs\n`);
  });

  const edits: readonly (readonly [what: string, text: string, rest: string | undefined])[] = [
    ['lines beside it stay', `a=1\n${ours}b=2`, 'a=1\nb=2'],
    [
      'a line in it stays, with its section',
      ours.replace('ExecStart=\n', 'ExecStart=\nNice=1\n'),
      '[Service]\nNice=1\n',
    ],
    [
      'a comment in it stays, without a section',
      ours.replace('ExecStart=\n', 'ExecStart=\n# why\n'),
      '# why\n',
    ],
    [
      'a changed command stays complete, and is the only one',
      ours.replace('--one', '--two'),
      '[Service]\nExecStart=\nExecStart=/bin/kubelet \\\n  --two $V\n',
    ],
    [
      'the marks are gone, and our lines with them',
      ours.replace(endLine, '').replace(beginLine, ''),
      undefined,
    ],
    ['the end is gone', `${ours.replace(`${endLine}\n`, '')}Nice=1\n`, '[Service]\nNice=1\n'],
    [
      'a line that we wrote once is there twice',
      ours.replace('[Service]', '[Service]\n[Service]'),
      '[Service]\n',
    ],
    ['all of it is somebody else’s', '[Service]\nNice=1\n', '[Service]\nNice=1\n'],
  ];
  for (const [what, text, rest] of edits) {
    test(`as somebody changed it: ${what}`, () => assert.equal(withoutBlock(text, ours), rest));
  }

  const parts = {
    executable: '/opt/kubelet-image-service',
    endpoint: 'unix:///x',
    kubeletUnit: 'k3s.service',
  };
  const raw = '/usr/local/bin/k3s \\\n    server \\\n';
  const argumentsPath = {
    ...({ kind: 're-emit', variable: 'KUBELET_IMAGE_SERVICE_ARGUMENTS', execStart: raw } as const),
  };
  const dropIn = (mode: InstallMode) =>
    dropInText({ ...parts, mode, argumentsPath, config: '/c', credentialProvider: undefined, allow: [] });
  const written: readonly (readonly [what: string, text: string])[] = [
    ...(['host', 'pod', 'credential-provider'] as const).map(
      (mode) => [`drop-in, ${mode}`, dropIn(mode)] as const,
    ),
    ['service', serviceText({ ...parts, config: '/c', allow: ['exec'] })],
    ['guard', guardServiceText(parts)],
    ['timer', guardTimerText()],
    ['lost', lostServiceText(parts)],
  ];
  for (const [what, text] of written) {
    test(`is known by its form where no record says what was written: ${what}`, () => {
      assert.equal(withoutBlock(text), undefined);
      assert.equal(withoutBlock(`a=1\n${text}b=2`), 'a=1\nb=2');
      const marksGone = text.replace(`${beginLine}\n`, '').replace(`${endLine}\n`, '');
      assert.equal(withoutBlock(marksGone), undefined);
      // Theirs, in the last section.
      const [section = ''] = text.match(/^\[.*\]$/gm)?.slice(-1) ?? [];
      const edited = text.replace(endLine, `# why\nCPUWeight=5\n${endLine}`);
      assert.equal(withoutBlock(edited), `${section}\n# why\nCPUWeight=5\n`);
    });
  }

  test('is known by its form where somebody has changed its commands', () => {
    const text = dropIn('host')
      .replace('ExecStartPre=-/opt/', 'ExecStartPre=-/usr/bin/nice /opt/')
      .replace('/k3s ', '/k3s --debug ')
      .replace('EnvironmentFile', 'UMask=0077\nEnvironmentFile');
    assert.equal(withoutBlock(text), '[Service]\nUMask=0077\n');
  });
});
