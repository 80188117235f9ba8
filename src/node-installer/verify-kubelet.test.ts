import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeNode } from '../testing/fake-node.js';
import { argumentsFilePath } from './own-files.js';
import { runsWithFlag, verifyKubelet } from './verify-kubelet.js';

const flag = '--image-service-endpoint=unix:///run/x.sock';

describe('whether kubelet runs with our flag', () => {
  const rows: readonly (readonly [
    unit: string,
    argv: readonly string[],
    file: string | undefined,
    is: boolean,
  ])[] = [
    ['kubelet.service', ['kubelet', flag], undefined, true],
    ['kubelet.service', ['kubelet', '--image-service-endpoint', 'unix:///run/x.sock'], undefined, true],
    ['kubelet.service', ['kubelet'], undefined, false],
    ['kubelet.service', ['kubelet', `${flag}2`], undefined, false],
    // The last one counts.
    ['kubelet.service', ['kubelet', flag, '--image-service-endpoint=unix:///y'], undefined, false],
    ['kubelet.service', ['kubelet', '--image-service-endpoint=unix:///y', flag], undefined, true],
    // The file speaks only for those that hide their arguments.
    ['kubelet.service', ['kubelet'], `X="${flag}"\n`, false],
    ['k3s.service', ['/usr/local/bin/k3s server'], `X="${flag}"\n`, true],
    ['k3s.service', ['/usr/local/bin/k3s server'], `X=${flag}\n`, true],
    ['k3s.service', ['/usr/local/bin/k3s server'], `X="--v=1 ${flag} --w"\n`, true],
    ['k3s.service', ['/usr/local/bin/k3s server'], `X="${flag}2"\n`, false],
    ['k3s.service', ['/usr/local/bin/k3s server'], '', false],
    ['rke2-agent.service', ['/usr/local/bin/rke2 agent'], undefined, false],
  ];
  for (const [unit, argv, file, is] of rows) {
    test(`${unit} ${argv.join(' ')} ${file ?? ''}: ${is}`, async () => {
      const node = new FakeNode({ '/etc/systemd/system/kubelet.service': '[Service]\nExecStart=/k\n' });
      if (file !== undefined) node.files.set(argumentsFilePath, { text: file, mode: 0o600 });
      assert.equal(await runsWithFlag(node.process(), unit, { pid: 1, arguments: argv }, flag), is);
    });
  }
});

test('a k3s that is new has not read a file that its unit does not name, though an older one lies there', async () => {
  const unit = 'k3s.service';
  const named = `[Service]\nEnvironmentFile=-${argumentsFilePath}\nExecStart=/k3s $X\n`;
  for (const [text, hasFlag] of [
    ['[Service]\nExecStart=/k3s\n', false],
    [named, true],
  ] as const) {
    const node = new FakeNode({ [`/etc/systemd/system/${unit}`]: text });
    node.files.set(argumentsFilePath, { text: `X="${flag}"\n`, mode: 0o600 });
    const verify = (one: boolean) =>
      verifyKubelet(node.process(), { unit, previousPid: 1, flag, hasFlag: one });
    assert.equal(await verify(hasFlag), undefined);
    assert.match((await verify(!hasFlag)) ?? '', /^kubelet (?:still runs with|runs without) --image/);
  }
});
