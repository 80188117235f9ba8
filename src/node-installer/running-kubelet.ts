import type { RunningKubelet } from './node.js';
import { baseName } from './unit-text.js';

/** In which program a kubelet runs. */
export type KubeletProgram = 'kubelet' | 'k3s server' | 'k3s agent' | 'rke2 server' | 'rke2 agent';

/** Which unit a program belongs to. RKE2 starts its kubelet as a program of its own. */
export const unitOf: Readonly<Record<KubeletProgram, string>> = {
  kubelet: 'kubelet.service',
  'k3s server': 'k3s.service',
  'k3s agent': 'k3s-agent.service',
  'rke2 server': 'rke2-server.service',
  'rke2 agent': 'rke2-agent.service',
};

/**
 * @param argv of a process; k3s and RKE2 hide theirs behind a title of one word, `/usr/local/bin/k3s server`
 * @returns undefined where there is no kubelet in it
 */
export function kubeletProgram(argv: readonly string[]): KubeletProgram | undefined {
  const words = argv.length === 1 ? (argv[0] ?? '').split(' ') : argv;
  // A script is its interpreter's first argument.
  const at = words
    .slice(0, 2)
    .findIndex((word) => /^(?:kubelet|hyperkube|k3s|rke2)(?:-server|-agent)?$/.test(baseName(word)));
  if (at < 0) return undefined;
  const name = baseName(words[at] ?? '');
  if (name === 'kubelet' || name === 'hyperkube') return 'kubelet';
  const [program, role = words[at + 1]] = name.split('-');
  const found = `${program} ${role}`;
  return found in unitOf ? (found as KubeletProgram) : undefined;
}

/** Those that belong to a unit. */
export function kubeletsOf(unit: string, running: readonly RunningKubelet[]): readonly RunningKubelet[] {
  const isChild = unit.startsWith('rke2');
  return running.filter(({ argv }) => {
    const program = kubeletProgram(argv);
    return program !== undefined && (isChild ? program === 'kubelet' : unitOf[program] === unit);
  });
}
