import { cpus } from 'node:os';
import type { Policy, Principal, RequestContext } from '../src/contracts/index.js';
import { qualifiedName } from '../src/contracts/index.js';
import { PrincipalValue, RequestValue } from '../src/policies/condition/variables.js';
import { matchesGlob } from '../src/policies/glob.js';
import { type RuleConfig, rulesConfig } from '../src/policies/rule-schema.js';
import { driver } from '../src/policies/rules.js';
import type { RepositoryName } from '../src/reference/repository-name.js';
import { type Action, normalizeActions, type Scope } from '../src/reference/scope.js';
import { FakeLog } from '../src/testing/fake-log.js';
import { FakeMetrics } from '../src/testing/fake-metrics.js';
import { type Shape, shapes } from './policy-shapes.js';

// npm run bench:policy [-- RUNS [RULES [SHAPES]]]        SHAPES: only those whose name begins so
//
// CPU time of one decision, a question about one repository, with ten thousand rules: by the policy, and beside it by
// looking at every rule. What is decided is compared as well.

const runs = Number(process.argv[2] ?? 7);
const count = Number(process.argv[3] ?? 10_000);
const wanted = process.argv[4] ?? '';
/** CPU microseconds that one run takes at least. */
const worthMeasuring = 200_000;
/** Microseconds a decision: what was promised. */
const target = 200;

const request: RequestContext = { service: 'docker.example.com', address: '10.1.2.3' };
const o = { signal: new AbortController().signal };
const given = { verifiers: ['corp'], mergedVerifiers: [], services: [request.service] };

interface Question {
  readonly who: Principal;
  readonly scope: Scope;
}

type Decide = (question: Question) => Promise<readonly Action[]>;

async function open(config: readonly object[]): Promise<Policy> {
  return driver.open(driver.config.parse(config), {
    ...{ id: 'policy', baseDirectory: '/', clock: Date, log: new FakeLog(), metrics: new FakeMetrics() },
    ...given,
  });
}

/** As it would be without an index. */
function decideByAll(rules: readonly RuleConfig[], { who, scope }: Question): readonly Action[] {
  const values = { principal: new PrincipalValue(who), request: new RequestValue(request, Date.now()) };
  const name = qualifiedName(who);
  const applicable = rules.filter(
    (rule) =>
      rule.names?.includes(name) ||
      who.groups.some((group) => rule.groups?.includes(`${who.verifier}:${group}`)),
  );
  const allowed = applicable
    .filter((rule) => rule.repositories.some((glob) => matchesGlob(glob, scope.name, who)))
    .flatMap(({ actions, when }) =>
      actions.filter((action) => when?.evaluate({ ...values, repository: scope.name, action }).holds ?? true),
    );
  const all = normalizeActions(allowed);
  return scope.actions.filter((action) => all.includes(action));
}

/** @returns CPU microseconds a decision */
async function measure(decide: Decide, questions: readonly Question[]): Promise<number> {
  const before = process.cpuUsage();
  for (let asked = 1; ; asked++) {
    const question = questions[asked % questions.length];
    if (question) await decide(question);
    const { user, system } = process.cpuUsage(before);
    if (user + system > worthMeasuring) return (user + system) / asked;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const print = (microseconds: number) => `${microseconds.toFixed(microseconds < 10 ? 1 : 0)} µs`;

async function compare(shape: Shape): Promise<void> {
  const config = Array.from({ length: count }, (_, i) => shape.rule(i));
  const rules = rulesConfig.parse(config);
  if (!Array.isArray(rules)) throw new Error('a list was expected');
  const policy = await open(config);
  const questions = Array.from({ length: 200 }, (_, i): Question => {
    const { who, repository } = shape.question(i);
    return { who, scope: { type: 'repository', name: repository as RepositoryName, actions: ['pull'] } };
  });
  const byPolicy: Decide = async ({ who, scope }) =>
    (await policy.decide(who, [scope], request, o))[0]?.granted ?? [];
  const byAll: Decide = async (question) => decideByAll(rules, question);
  let granted = 0;
  for (const question of questions) {
    const [one, other] = [await byPolicy(question), await byAll(question)];
    if (one.join() !== other.join())
      throw new Error(`${shape.name}: ${question.scope.name} is decided otherwise`);
    granted += one.length;
  }
  const measured = { policy: [] as number[], all: [] as number[] };
  for (let run = -1; run < runs; run++) {
    const [policyTime, allTime] = [await measure(byPolicy, questions), await measure(byAll, questions)];
    if (run < 0) continue; // so that what is measured is compiled
    measured.policy.push(policyTime);
    measured.all.push(allTime);
  }
  const [indexed, linear] = [median(measured.policy), median(measured.all)];
  const verdict = indexed <= target ? `within ${target} µs` : `MORE than ${target} µs`;
  console.log(
    `\n${shape.name}\n  ${(linear / indexed).toFixed(1)} times less than looking at every rule; ${verdict}`,
  );
  console.log(`  ${print(indexed)} a decision (runs: ${measured.policy.map(print).join(', ')})`);
  console.log(`  ${print(linear)} by every rule (runs: ${measured.all.map(print).join(', ')})`);
  console.log(`  of ${questions.length} questions ${granted} granted`);
}

const { model = '' } = cpus()[0] ?? {};
console.log(
  `Node ${process.version}, ${cpus().length} × ${model}, ${count} rules, CPU time, medians of ${runs} alternating runs`,
);
for (const shape of shapes(count).filter(({ name }) => name.startsWith(wanted))) await compare(shape);
