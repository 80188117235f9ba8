import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

// What `check` and `explain` say of a policy with conditions and tests.

const program = fileURLToPath(new URL('../../src/bin/docker-registry-proxy.ts', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'drp-cli-policy-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function run(...args: readonly string[]) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', program, ...args],
      { timeout: 60_000 },
      (error, ...out) => {
        const [stdout, stderr] = out.map((text) => text.replaceAll(`${directory}/`, ''));
        resolve({
          code: error === null ? 0 : Number(error.code),
          stdout: stdout ?? '',
          stderr: stderr ?? '',
        });
      },
    );
  });
}

const configuration = join(directory, 'proxy.yaml');
writeFileSync(
  configuration,
  `externalUrl: https://docker.example.com
upstreams: { hub: { url: https://docker.io } }
routes: [{ prefix: "", upstream: hub }]
verifiers: [{ id: ci, type: anonymous }]
policy: { file: policy.yaml }
`,
);

const policy = `rules:
  - names: ["ci:*"]
    repositories: ["team/**"]
    actions: [pull]
    when: >-
      principal.attributes.branch == "main" && cidr("10.0.0.0/8").containsIP(request.address)
      && request.time < timestamp("2026-02-01T00:00:00Z")
tests:
  - { as: ci:x, attributes: { branch: main }, address: 10.0.0.1, time: 2026-01-31T12:00:00Z,
      repository: team/a, action: pull, expect: allow }
`;

function check(text: string) {
  writeFileSync(join(directory, 'policy.yaml'), text);
  return run('check', '--config', configuration);
}

test('check runs the tests of the policy', async () => {
  assert.deepEqual(await check(policy), {
    code: 0,
    stdout: 'proxy.yaml: fine, policy tests passed: 1\n',
    stderr: '',
  });
});

test('check tells tests that fail from problems, by the exit code', async () => {
  const failing = await check(policy.replace('10.0.0.1', '11.0.0.1'));
  assert.equal(failing.code, 1);
  assert.match(failing.stderr, /^policy\.yaml:9:5: tests\[0\]: expected allow: pull of team\/a [^\n]*\n$/);
  assert.equal(failing.stdout, '');
  const wrong = await check(policy.replace('attributes.branch', 'atributes.branch'));
  assert.equal(wrong.code, 2);
  assert.match(
    wrong.stderr,
    /^policy\.yaml:5:11: rules\[0\]\.when: No such key: atributes \(line 1, column 11 /,
  );
});

test('explain takes an address and a time', async () => {
  writeFileSync(join(directory, 'policy.yaml'), policy);
  const ask = (...more: readonly string[]) =>
    run(
      ...['explain', '--config', configuration, '--as', 'ci:x', '--attribute', 'branch=main'],
      ...['--repository', 'team/a', '--action', 'pull', '--time', '2026-01-31T12:00:00Z', ...more],
    );
  const allowed = await ask('--address', '10.1.2.3');
  assert.equal(allowed.code, 0);
  assert.doesNotMatch(allowed.stdout, /^assumed/m);
  assert.match(allowed.stdout, /^decision +allowed by policy\.rules\[0\]$/m);
  const denied = await ask();
  assert.equal(denied.code, 1);
  assert.match(
    denied.stdout,
    /^condition {2}policy\.rules\[0\] does not allow pull: its condition is false$/m,
  );
  assert.match(denied.stdout, /^assumed {4}address 127\.0\.0\.1$/m);
  assert.match(denied.stdout, /^rule .* when principal\.[^\n]* timestamp\("2026-02-01T00:00:00Z"\)$/m);
  const bare = await run(
    ...['explain', '--config', configuration, '--as', 'ci:x', '--repository', 'team/a', '--action', 'pull'],
  );
  assert.match(bare.stdout, /^assumed {4}address 127\.0\.0\.1, the time is now, no attributes$/m);
});

test('check warns of groups that nobody can be in', async () => {
  const file = join(directory, 'groups.yaml');
  writeFileSync(
    file,
    `externalUrl: https://docker.example.com
upstreams: { hub: { url: https://docker.io } }
routes: [{ prefix: "", upstream: hub }]
mergedVerifiers: [bare, sso]
verifiers:
  - { id: anyone, type: anonymous }
  - { id: bare, type: ldap, url: "ldap://127.0.0.1", bindDn: "uid={username},dc=x" }
  - { id: full, type: ldap, url: "ldap://127.0.0.1", bindDn: "uid={username},dc=x", groups: { attribute: memberOf } }
  - { id: plain, type: oidc, issuer: "https://sso.example.com", audiences: [registry] }
  - { id: sso, type: oidc, issuer: "https://sso.example.com", audiences: [registry], groupsClaim: groups }
  - { id: own, type: exec, command: [/bin/true] }
policy:
  - { groups: ["full:a", "sso:a", "own:a", "merged"], repositories: ["**"], actions: [pull] }
  - { names: ["anyone:*"], groups: ["sso:a", "bare:a"], repositories: ["**"], actions: [pull] }
  - { groups: ["anyone:a", "plain:a"], repositories: ["**"], actions: [pull] }
`,
  );
  const { code, stderr } = await run('check', '--config', file);
  const about = ['[1].groups[1] bare', '[2].groups[0] anyone', '[2].groups[1] plain'].map((one) => {
    const [at, id] = one.split(' ');
    return `warning: groups.yaml: policy${at}: nobody is in it: as it is configured the verifier ${id} gives no groups\n`;
  });
  assert.deepEqual([code, stderr], [0, about.join('')]);
});
