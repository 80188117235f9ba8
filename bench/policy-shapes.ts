import type { Principal } from '../src/contracts/index.js';

// Ten thousand rules, in the shapes in which they come, and in those that an index helps least with.

export interface Shape {
  readonly name: string;
  rule(i: number): object;
  /** Who asks the question number `i`, and for which repository. */
  question(i: number): { readonly who: Principal; readonly repository: string };
}

const actions = ['pull', 'push'];

function principal(name: string, groups: readonly string[] = ['developers'], team = 'none'): Principal {
  return { verifier: 'corp', name, kind: 'human', groups, attributes: { team } };
}

/** @param count of the rules. Every other question is granted by a rule anywhere in the list, the others by none. */
export function shapes(count: number): readonly Shape[] {
  const some = (i: number) => (i * 7919) % count;
  const isGranted = (i: number) => i % 2 === 0;
  return [
    {
      name: 'each rule its own name',
      rule: (i) => ({ names: [`corp:user-${i}`], repositories: ['team/**'], actions }),
      question: (i) => ({
        who: principal(isGranted(i) ? `user-${some(i)}` : 'stranger'),
        repository: `team/app-${i}`,
      }),
    },
    {
      name: 'each rule its own group; who asks is in 100',
      rule: (i) => ({ groups: [`corp:group-${i}`], repositories: [`group-${i}/**`], actions }),
      question: (i) => {
        const groups = Array.from({ length: 100 }, (_, k) => `group-${some(i + k)}`);
        return {
          who: principal('alice', groups),
          repository: isGranted(i) ? `group-${some(i)}/app` : 'elsewhere/app',
        };
      },
    },
    {
      name: 'one group, each rule its own first component',
      rule: (i) => ({ groups: ['corp:developers'], repositories: [`project-${i}/**`], actions }),
      question: (i) => ({
        who: principal('alice'),
        repository: isGranted(i) ? `project-${some(i)}/app` : 'elsewhere/app',
      }),
    },
    {
      name: 'one group, the same first component, patterns of three kinds',
      rule: (i) => ({
        groups: ['corp:developers'],
        repositories: [[`team/app-${i}`, `team/app-${i}/*`, `team/app-${i}-*/**`][i % 3]],
        actions,
      }),
      question: (i) => ({
        who: principal('alice'),
        repository: isGranted(i) ? `team/app-${some(i)}/x` : `team/tool-${some(i)}/x`,
      }),
    },
    {
      name: 'one group, each rule its own prefix and a condition',
      rule: (i) => ({
        groups: ['corp:developers'],
        repositories: [`project-${i}/**`],
        actions,
        when: `principal.attributes.team == "team-${i}" && cidr("10.0.0.0/8").containsIP(request.address)`,
      }),
      question: (i) => ({
        who: principal('alice', ['developers'], `team-${isGranted(i) ? some(i) : 'none'}`),
        repository: `project-${some(i)}/app`,
      }),
    },
    {
      name: 'one group, each pattern begins with **/ and has its own end',
      rule: (i) => ({ groups: ['corp:developers'], repositories: [`**/app-${i}`], actions }),
      question: (i) => ({
        who: principal('alice'),
        repository: isGranted(i) ? `team/app-${some(i)}` : 'team/tool',
      }),
    },
    {
      name: 'one group, its own component in the middle of two **',
      rule: (i) => ({ groups: ['corp:developers'], repositories: [`**/app-${i}/**`], actions }),
      question: (i) => ({
        who: principal('alice'),
        repository: isGranted(i) ? `team/app-${some(i)}/x` : 'team/tool/x',
      }),
    },
    {
      name: 'WORST CASE one group, its own part of a component between two **: every pattern is tried',
      rule: (i) => ({ groups: ['corp:developers'], repositories: [`**app-${i}-**`], actions }),
      question: (i) => ({
        who: principal('alice'),
        repository: isGranted(i) ? `team/app-${some(i)}-x` : 'team/tool-x',
      }),
    },
    {
      name: 'WORST CASE one group, every pattern ** and a condition: every condition is evaluated',
      rule: (i) => ({
        groups: ['corp:developers'],
        repositories: ['**'],
        actions,
        when: `principal.attributes.team == "team-${i}"`,
      }),
      question: (i) => ({
        who: principal('alice', ['developers'], `team-${isGranted(i) ? some(i) : 'none'}`),
        repository: 'team/app',
      }),
    },
  ];
}
