import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FilePath, ownDirectory, readableDirectory, readableFile } from './file-path.js';

for (const [kind, schema] of [
  ['file', readableFile()],
  ['directory', ownDirectory()],
  ['readable directory', readableDirectory()],
] as const) {
  it(`a ${kind} is kept as it is written`, () => {
    for (const text of ['users.htpasswd', '/etc/x', '../x', ' ', 'a b/ü']) {
      const path = schema.parse(text);
      assert.ok(path instanceof FilePath, 'path instanceof FilePath');
      assert.deepEqual([path.text, path.kind, String(path)], [text, kind, text]);
    }
  });

  it(`a ${kind} must have a name`, () => {
    for (const value of ['', 5, null, undefined, ['x'], { file: 'x' }]) {
      assert.match(
        schema.safeParse(value).error?.issues[0]?.message ?? '',
        new RegExp(`^expected a ${kind.replace('readable ', '')} name$`),
      );
    }
  });
}
