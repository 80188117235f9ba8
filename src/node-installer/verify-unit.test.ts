import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { UnitState } from '../contracts/node.js';
import type { ArgumentsPath } from './node.js';
import { argumentsFilePath } from './own-files.js';
import { verifyUnit } from './verify-unit.js';

const dropIn = '/etc/systemd/system/kubelet.service.d/90-kubelet-image-service.conf';
const executable = '/opt/kubelet-image-service/bin/kubelet-image-service';
const amend: ArgumentsPath = { kind: 'amend', variable: 'KUBELET_EXTRA_ARGS' };
const repeat = (execStart: string): ArgumentsPath => ({
  ...{ kind: 're-emit', variable: 'KUBELET_IMAGE_SERVICE_ARGUMENTS', execStart },
});

const before: UnitState = {
  ...{ loadState: 'loaded', activeState: 'active', subState: 'running', result: 'success' },
  ...{ mainPid: 7, mainStatus: 0, restarts: 0, needsReload: false },
  fragmentPath: '/etc/systemd/system/kubelet.service',
  dropInPaths: ['/etc/systemd/system/kubelet.service.d/10-kubeadm.conf'],
  execStart: [['/usr/bin/kubelet', '--v=1', '$KUBELET_EXTRA_ARGS']],
  execStartPre: [['/bin/mkdir', '-p', '/x']],
  environmentFiles: ['/etc/default/kubelet'],
  after: [],
};
const after: UnitState = {
  ...before,
  dropInPaths: [...before.dropInPaths, dropIn],
  execStartPre: [...before.execStartPre, [executable, 'kubelet-arguments', '--mode', 'host']],
  environmentFiles: [...before.environmentFiles, `-${argumentsFilePath}`],
};
const own = '$KUBELET_IMAGE_SERVICE_ARGUMENTS';
const repeated = (...words: readonly string[]): UnitState => ({ ...after, execStart: [[...words, own]] });

interface Row {
  readonly what: string;
  readonly from?: UnitState;
  readonly to: UnitState;
  readonly path?: ArgumentsPath;
  readonly problem?: RegExp;
}

const rows: readonly Row[] = [
  { what: 'as it was meant', to: after },
  { what: 'with an earlier drop-in of ours', from: after, to: after },
  {
    what: 'repeated',
    to: repeated('/usr/bin/kubelet', '--v=1', '$KUBELET_EXTRA_ARGS'),
    path: repeat('/usr/bin/kubelet'),
  },
  {
    what: 'repeated, where the platform has changed it since',
    from: repeated('/usr/bin/kubelet', '--v=1'),
    to: repeated('/usr/bin/kubelet', '--v=4'),
    path: repeat('-"/usr/bin/kubelet" --v=4'),
  },
  {
    what: 'repeated as another program',
    from: repeated('/usr/bin/kubelet', '--v=1'),
    to: repeated('/usr/bin/other'),
    path: repeat('/usr/bin/kubelet --v=1'),
    problem: /another command/,
  },
  { what: 'not reloaded', to: { ...after, needsReload: true }, problem: /has not read/ },
  { what: 'masked', to: { ...after, loadState: 'masked' }, problem: /masked/ },
  { what: 'from another file', to: { ...after, fragmentPath: '/run/k' }, problem: /from \/run\/k/ },
  { what: 'without our drop-in', to: { ...after, dropInPaths: before.dropInPaths }, problem: /does not use/ },
  {
    what: 'another command',
    to: { ...after, execStart: [['/usr/bin/kubelet', '$KUBELET_EXTRA_ARGS']] },
    problem: /another command/,
  },
  { what: 'no command', to: { ...after, execStart: [] }, problem: /another command/ },
  {
    what: 'two commands',
    to: { ...after, execStart: [...after.execStart, ['/bin/x']] },
    problem: /another command/,
  },
  {
    what: 'no variable',
    from: { ...before, execStart: [['/k']] },
    to: { ...after, execStart: [['/k']] },
    problem: /variable/,
  },
  {
    what: 'our ExecStartPre lost',
    to: { ...after, execStartPre: before.execStartPre },
    problem: /ExecStartPre that makes/,
  },
  {
    what: 'their ExecStartPre lost',
    to: { ...after, execStartPre: after.execStartPre.slice(1) },
    problem: /ExecStartPre was lost/,
  },
  {
    what: 'our file lost',
    to: { ...after, environmentFiles: before.environmentFiles },
    problem: /is missing/,
  },
  {
    what: 'their file lost',
    to: { ...after, environmentFiles: [argumentsFilePath] },
    problem: /EnvironmentFile was lost/,
  },
];

describe("kubelet's unit as systemd sees it", () => {
  for (const { what, from = before, to, path = amend, problem } of rows) {
    test(what, () => {
      const problems = verifyUnit(from, to, { dropIn, executable, argumentsPath: path });
      if (problem === undefined) assert.deepEqual(problems, []);
      else assert.match(problems.join('; '), problem);
    });
  }
});
