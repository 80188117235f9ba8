import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireProgram } from '../../testing/programs.js';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');

test('runtime_pb.ts is what `npm run proto` makes of runtime.proto', (t) => {
  const protoc = requireProgram(t, 'protoc', 'protobuf-compiler');
  if (protoc === undefined) return;
  const out = mkdtempSync(join(tmpdir(), 'drp-proto-'));
  t.after(() => rmSync(out, { recursive: true }));
  const plugin = join(root, 'node_modules/.bin/protoc-gen-es');
  const options = [`--plugin=${plugin}`, '--es_opt=target=ts,import_extension=js', `--es_out=${out}`];
  // The plugin is a script, for the Node that runs this.
  const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` };
  execFileSync(protoc, [...options, `--proto_path=${here}`, 'runtime.proto'], { env });
  const made = readFileSync(join(out, 'runtime_pb.ts'), 'utf8');
  assert.equal(readFileSync(join(here, 'runtime_pb.ts'), 'utf8'), made);
});
