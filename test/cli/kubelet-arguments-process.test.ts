import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../src/bin/kubelet-image-service.ts', import.meta.url));

async function run(t: TestContext, args: readonly string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', program, 'kubelet-arguments', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, stderr };
}

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'drp-arguments-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

for (const [what, args] of [
  ['arguments of another version', ['--mode', 'host', '--later-option', 'x']],
  ['none at all', []],
] as const) {
  test(`${what}: kubelet starts with nothing of ours`, { timeout: 60_000 }, async (t) => {
    const file = join(directoryOf(t), 'kubelet.env');
    const { code, stderr } = await run(t, [...args, '--write', file]);
    assert.equal(code, 0, stderr);
    assert.equal(readFileSync(file, 'utf8'), '');
    assert.match(stderr, /^kubelet starts without the image service: [^\n]+\n$/);
  });
}

test('a file that never answers is not waited for', { timeout: 60_000 }, async (t) => {
  const directory = directoryOf(t);
  const [file, pipe] = [join(directory, 'kubelet.env'), join(directory, 'config.yaml')];
  writeFileSync(file, 'A=of an earlier start\n');
  execFileSync('mkfifo', [pipe]);
  const args = ['--mode', 'credential-provider', '--variable', 'A', '--config', pipe, '--write', file];
  const { signal, stderr } = await run(t, args);
  // A thread of Node's waits for the pipe, and would be waited for: only a signal ends it.
  assert.equal(signal, 'SIGKILL', stderr);
  assert.ok(!existsSync(file), 'there is a file');
  assert.match(stderr, /took longer than 10 s/);
});
