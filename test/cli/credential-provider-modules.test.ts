import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ProviderMachine, requestFor } from './providing.js';

// kubelet starts the program anew for each image: it loads what reads the configuration, and the credentials of one rule.

const program = fileURLToPath(new URL('../../src/bin/kubelet-image-service.ts', import.meta.url));
const preload = pathToFileURL(fileURLToPath(new URL('note-modules.mjs', import.meta.url)));

test('the program loads the credentials of the rule that matches, and no server', async (t) => {
  const machine = new ProviderMachine(
    t,
    [
      { match: 'ecr.example.com/**', credentials: { type: 'ecr', region: 'eu-west-1' } },
      { match: 'gcp.example.com/**', credentials: { type: 'gcp' } },
      {
        match: '*.internal/**',
        credentials: { type: 'static', username: 'u', password: { file: 'password' } },
      },
    ],
    { runtime: { type: 'docker' } },
  );
  machine.write('password', 'p');
  const noted = join(machine.directory, 'noted');
  const args = ['--import', 'tsx', program, 'credential-provider', '--config', machine.file];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, NOTED_MODULES: noted, NODE_OPTIONS: `--import "${preload}"` },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(requestFor('a.internal/app'));
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  assert.equal(code, 0);
  assert.match(stdout, /^\{"apiVersion":"credentialprovider\.kubelet\.k8s\.io\/v1",.*"username":"u"/);
  const urls = readFileSync(noted, 'utf8');
  const packages = [...urls.matchAll(/\/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(([, name = '']) => name);
  assert.deepEqual([...new Set(packages)].filter((name) => !/^(?:tsx|esbuild|@esbuild)/.test(name)).sort(), [
    'commander',
    'yaml',
    'zod',
  ]);
  assert.doesNotMatch(urls, /\/src\/(?:grpc|runtimes|observability|http)\//);
  assert.doesNotMatch(urls, /\/credential-sources\/(?:ecr|gcp)/);
});
