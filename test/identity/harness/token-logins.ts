import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Clock } from '../../../src/contracts/clock.js';
import { basic, claimsOf, type Front, startFront } from '../../harness/index.js';

const tokenPath = '/token?service=docker.test&scope=repository:team/app:pull';

/** @returns the principal with its grants; the status where there is no token */
export async function login(front: Front, username: string, password: string): Promise<string | number> {
  const answer = await front.send(tokenPath, { headers: { authorization: basic(username, password) } });
  assert.doesNotMatch(answer.text, /127\.0\.0\.1|localhost/, 'the answer tells of our servers');
  if (answer.status !== 200) return answer.status;
  const { sub, access } = claimsOf((JSON.parse(answer.text) as { token: string }).token);
  return [sub, ...access.map(({ name, actions }) => `${name}:${actions}`)].join(' ');
}

/** The same of several, one after the other. */
export async function logins(front: Front, all: readonly (readonly [string, string])[]) {
  const outcomes: (string | number)[] = [];
  for (const [username, password] of all) outcomes.push(await login(front, username, password));
  return outcomes;
}

interface JudgingSettings {
  /** As YAML, as the others. */
  readonly verifiers: string;
  readonly rules: string;
  readonly more?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
}

/** A proxy in this process, with no other verifiers and rules than these. No token may be in its log at the end. */
export async function startJudging(
  t: TestContext,
  { verifiers, rules, more = '', files, clock }: JudgingSettings,
) {
  const front = await startFront(
    t,
    `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
${verifiers}
policy:
${rules}
${more}
`,
    { ...(files && { files }), ...(clock && { clock }) },
  );
  t.after(() => assert.ok(!/eyJ[\w-]{10,}\./.test(front.log()), 'a token is in the log'));
  return front;
}

/** How often a verifier came to this. */
export function countOf(front: Front, verifier: string, outcome: string): Promise<number> {
  return front.metric(`registry_proxy_verifications_total{verifier="${verifier}",outcome="${outcome}"}`);
}
