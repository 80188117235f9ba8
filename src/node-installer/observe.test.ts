import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { maskedUnit, type NodeTree, nodeTrees } from '../testing/node-trees.js';
import { TreeFiles } from '../testing/tree-files.js';
import type { ObservedNode } from './node.js';
import { observe, type Wanted } from './observe.js';
import { readNode } from './snapshot.js';

const host: Wanted = { mode: 'host', socket: '/run/kubelet-image-service/image.sock', chain: false };
const provider: Wanted = { ...host, mode: 'credential-provider' };

async function observed(
  tree: NodeTree,
  wanted: Wanted = host,
  directories: ConstructorParameters<typeof TreeFiles>[1] = {},
): Promise<ObservedNode> {
  const also = wanted.directory === undefined ? [] : [`${wanted.directory}/kubelet-image-service`];
  return observe(await readNode(new TreeFiles(tree, directories), also), wanted);
}

const containerd = 'unix:///run/containerd/containerd.sock';
const raw = (execStart: string) => ({
  kind: 're-emit',
  variable: 'KUBELET_IMAGE_SERVICE_ARGUMENTS',
  execStart,
});
const amend = (variable: string) => ({ kind: 'amend', variable });

interface Row {
  readonly platform: string;
  readonly kubelet?: Partial<Record<keyof NonNullable<ObservedNode['kubelet']>, unknown>>;
  readonly refusals?: readonly RegExp[];
  readonly notes?: readonly RegExp[];
  readonly directories?: readonly [executable: string, state: string];
}

const usual = ['/opt/kubelet-image-service/bin', '/var/lib/kubelet-image-service'] as const;
const google = ['/home/kubernetes/bin', '/home/kubernetes/kubelet-image-service'] as const;
const gkeKubelet = {
  unit: 'kubelet.service',
  fragmentPath: '/etc/systemd/system/kubelet.service',
  dropInPaths: [],
  argumentsPath: amend('KUBELET_OPTS'),
  pid: 1204,
  runtimeEndpoint: containerd,
  credentialProvider: {
    config: '/home/kubernetes/cri-auth-config.yaml',
    binDirectory: '/home/kubernetes/bin',
  },
};

const rows: Readonly<Record<keyof typeof nodeTrees, Row>> = {
  'gke-cos': {
    platform: 'gke-cos',
    kubelet: gkeKubelet,
    directories: google,
    notes: [/\/etc is lost at each reboot/],
  },
  'gke-ubuntu': { platform: 'gke-ubuntu', kubelet: gkeKubelet, directories: google },
  'gke-autopilot': {
    platform: 'gke-autopilot',
    directories: google,
    refusals: [/^GKE Autopilot: .*docker-registry-proxy/],
  },
  'eks-al2023': {
    platform: 'eks-al2023',
    kubelet: {
      argumentsPath: amend('NODEADM_KUBELET_ARGS'),
      pid: 2210,
      imageEndpoint: undefined,
      runtimeEndpoint: containerd,
      credentialProvider: {
        config: '/etc/eks/image-credential-provider/config.json',
        binDirectory: '/etc/eks/image-credential-provider',
      },
    },
  },
  'eks-al2': {
    platform: 'eks-al2',
    notes: [/does not run/],
    refusals: [/^Amazon Linux 2: its glibc is older than 2\.28/],
  },
  aks: {
    platform: 'aks',
    kubelet: {
      argumentsPath: amend('KUBELET_FLAGS'),
      pid: 0,
      runtimeEndpoint: containerd,
      dropInPaths: ['/etc/systemd/system/kubelet.service.d/10-containerd-base-flag.conf'],
      credentialProvider: {
        config: '/var/lib/kubelet/credential-provider-config.yaml',
        binDirectory: '/var/lib/kubelet/credential-provider',
      },
    },
    notes: [/^kubelet does not run now$/],
  },
  kubeadm: {
    platform: 'kubeadm',
    kubelet: {
      fragmentPath: '/usr/lib/systemd/system/kubelet.service',
      dropInPaths: ['/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf'],
      argumentsPath: amend('KUBELET_EXTRA_ARGS'),
      pid: 880,
      runtimeEndpoint: 'unix:///var/run/containerd/containerd.sock',
      credentialProvider: undefined,
    },
  },
  kind: {
    platform: 'kind',
    kubelet: { argumentsPath: amend('KUBELET_EXTRA_ARGS') },
    notes: [/does not run/],
  },
  minikube: {
    platform: 'minikube',
    kubelet: {
      fragmentPath: '/lib/systemd/system/kubelet.service',
      pid: 1733,
      runtimeEndpoint: containerd,
      argumentsPath: raw(
        '/var/lib/minikube/binaries/v1.33.1/kubelet --config=/var/lib/kubelet/config.yaml --hostname-override=minikube --kubeconfig=/etc/kubernetes/kubelet.conf --node-ip=192.168.49.2',
      ),
    },
    notes: [/lost at each reboot/],
  },
  k3s: {
    platform: 'k3s',
    kubelet: {
      unit: 'k3s.service',
      pid: 950,
      argumentsPath: raw('/usr/local/bin/k3s \\\n    server \\\n'),
      credentialProvider: undefined,
    },
    refusals: [/^k3s\.service starts its own container runtime.*credential-provider mode/],
    notes: [/credential-provider mode is recommended/],
  },
  'k3s-agent': {
    platform: 'k3s',
    kubelet: {
      unit: 'k3s-agent.service',
      pid: 951,
      credentialProvider: {
        config: '/var/lib/rancher/credentialprovider/config.yaml',
        binDirectory: '/var/lib/rancher/credentialprovider/bin',
      },
    },
    refusals: [/^k3s-agent\.service starts its own/],
    notes: [/recommended/],
  },
  rke2: {
    platform: 'rke2',
    kubelet: {
      unit: 'rke2-server.service',
      pid: 1033,
      argumentsPath: raw('/usr/local/bin/rke2 server'),
      runtimeEndpoint: 'unix:///run/k3s/containerd/containerd.sock',
    },
    refusals: [/^rke2-server\.service starts its own/],
    notes: [/recommended/],
  },
  openshift: { platform: 'openshift', refusals: [/^OpenShift: .*MachineConfig$/] },
  bottlerocket: { platform: 'bottlerocket', refusals: [/^Bottlerocket: .*registry or a mirror/] },
  talos: { platform: 'talos', refusals: [/^Talos Linux: .*registry or a mirror/] },
  unknown: { platform: 'unknown', refusals: [/none of the platforms.*--print-config/] },
};

function matches(texts: readonly string[], patterns: readonly RegExp[] = [], what = ''): void {
  assert.equal(texts.length, patterns.length, `${what}: ${texts.join(' | ')}`);
  for (const [at, pattern] of patterns.entries()) assert.match(texts[at] ?? '', pattern);
}

describe('what a node is', () => {
  for (const [name, row] of Object.entries(rows)) {
    test(name, async () => {
      const node = await observed(nodeTrees[name as keyof typeof nodeTrees]);
      assert.equal(node.platform, row.platform);
      matches(node.refusals, row.refusals, 'refusals');
      matches(node.notes, row.notes, 'notes');
      assert.deepEqual([node.executableDirectory, node.stateDirectory], row.directories ?? usual);
      for (const [key, value] of Object.entries(row.kubelet ?? {})) {
        assert.deepEqual(node.kubelet?.[key as keyof typeof node.kubelet], value, key);
      }
    });
  }

  for (const name of ['k3s', 'k3s-agent', 'rke2'] as const) {
    test(`${name}: credential providers are fine`, async () => {
      assert.deepEqual((await observed(nodeTrees[name], provider)).refusals, []);
    });
  }

  test('k3s with a runtime of its own', async () => {
    const config =
      'token: not-for-anybody\ncontainer-runtime-endpoint: unix:///run/containerd/containerd.sock\n';
    const node = await observed({ ...nodeTrees.k3s, '/etc/rancher/k3s/config.yaml': config });
    assert.deepEqual(node.refusals, []);
    assert.equal(node.kubelet?.runtimeEndpoint, containerd);
  });

  test('k3s hides its arguments: those of its unit count', async () => {
    const path = '/etc/systemd/system/k3s.service';
    const k3sUnit = String(nodeTrees.k3s[path]);
    const text = k3sUnit.replace(
      'server \\\n',
      `server \\\n    --container-runtime-endpoint ${containerd}\n`,
    );
    const node = await observed({ ...nodeTrees.k3s, [path]: text });
    assert.deepEqual([node.refusals, node.kubelet?.runtimeEndpoint], [[], containerd]);
  });

  test('k3s whose files name another image endpoint', async () => {
    const tree = {
      ...nodeTrees.k3s,
      '/etc/rancher/k3s/config.yaml': `container-runtime-endpoint: ${containerd}\nkubelet-arg:\n  - image-service-endpoint=unix:///run/other.sock\n`,
    };
    matches((await observed(tree)).refusals, [/^kubelet asks unix:\/\/\/run\/other\.sock/]);
  });

  test('the credential provider of ours does not count as the node’s own', async () => {
    const argv = [
      '/home/kubernetes/bin/kubelet',
      '--image-credential-provider-config=/home/own.yaml',
      '--image-credential-provider-bin-dir=/home/bin',
      '--image-credential-provider-config=/run/kubelet-image-service-arguments/credential-provider.yaml',
      '--image-credential-provider-bin-dir=/run/kubelet-image-service-arguments/bin',
    ];
    const node = await observed({ ...nodeTrees['gke-cos'], '/proc/1204/cmdline': `${argv.join('\0')}\0` });
    assert.deepEqual(node.kubelet?.credentialProvider, {
      config: '/home/own.yaml',
      binDirectory: '/home/bin',
    });
  });
});

const kubeadm = nodeTrees.kubeadm;
const unit = '/usr/lib/systemd/system/kubelet.service';
const etcUnit = '/etc/systemd/system/kubelet.service';
const dropIn = (name: string, text: string) => ({ [`/etc/systemd/system/kubelet.service.d/${name}`]: text });
const flagged = (...flags: readonly string[]) => ({
  '/proc/880/cmdline': ['/usr/bin/kubelet', ...flags, ''].join('\0'),
});
const other = '--image-service-endpoint=unix:///run/soci/soci.sock';

interface Case {
  readonly what: string;
  readonly tree: NodeTree;
  readonly wanted?: Wanted;
  readonly refusals: readonly RegExp[];
}

const cases: readonly Case[] = [
  {
    what: 'no unit',
    tree: { '/etc/os-release': 'ID=debian\n' },
    refusals: [/no unit that a kubelet runs in/],
  },
  {
    what: 'masked',
    tree: { ...kubeadm, [etcUnit]: maskedUnit },
    refusals: [/is masked \(\/etc/],
  },
  {
    what: 'generated',
    tree: { ...kubeadm, '/run/systemd/generator/kubelet.service': '[Service]\nExecStart=/usr/bin/kubelet\n' },
    refusals: [/^\/run\/systemd\/generator\/kubelet\.service is made anew/],
  },
  {
    what: 'several commands',
    tree: { ...kubeadm, ...dropIn('20-two.conf', '[Service]\nExecStart=/usr/bin/kubelet --two\n') },
    refusals: [/has 2 ExecStart lines, expected one/],
  },
  {
    what: 'several commands in one line',
    tree: {
      ...kubeadm,
      ...dropIn('20-two.conf', '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet ; /bin/true\n'),
    },
    refusals: [/not one command/],
  },
  {
    what: 'a command that is no kubelet',
    tree: {
      ...kubeadm,
      ...dropIn('20-sh.conf', "[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec kubelet'\n"),
    },
    refusals: [/runs sh, expected kubelet/],
  },
  {
    what: 'a command without variables',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nExecStart=\nExecStart=-:/usr/bin/kubelet\n') },
    refusals: [/begins with ":"/],
  },
  {
    what: 'an open quote',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet "--a\n') },
    refusals: [/closed quotes/],
  },
  {
    what: 'a drop-in after ours with another command',
    tree: {
      ...kubeadm,
      ...dropIn('95-x.conf', '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n'),
    },
    refusals: [/read after ours sets ExecStart: give it a name before 90-/],
  },
  {
    what: 'arguments that would be kept',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nRuntimeDirectoryPreserve=restart\n') },
    refusals: [/RuntimeDirectoryPreserve=restart/],
  },
  {
    what: 'another user',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nUser=kube\n') },
    refusals: [/runs as kube/],
  },
  {
    what: 'a user that systemd makes up',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nDynamicUser=True\n') },
    refusals: [/has DynamicUser=True/],
  },
  {
    what: 'arguments that a group may write',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nRuntimeDirectoryMode=0775\n') },
    refusals: [/has RuntimeDirectoryMode=0775: others than root/],
  },
  {
    what: 'arguments that everybody may write',
    tree: { ...kubeadm, ...dropIn('20-x.conf', '[Service]\nRuntimeDirectoryMode=777\n') },
    refusals: [/has RuntimeDirectoryMode=777/],
  },
  {
    what: 'settings as they are without them',
    tree: {
      ...kubeadm,
      ...dropIn(
        '20-x.conf',
        '[Service]\nDynamicUser=no\nRuntimeDirectoryMode=0700\nRuntimeDirectoryPreserve=no\nTimeoutStartSec=1min 30s\n',
      ),
    },
    refusals: [],
  },
  {
    what: 'two kubelets',
    tree: { ...kubeadm, '/proc/4/cmdline': '/usr/local/bin/kubelet\0--a\0' },
    refusals: [/more than one kubelet runs here \(processes 4, 880\)/],
  },
  {
    what: "another's endpoint",
    tree: { ...kubeadm, ...flagged(other) },
    refusals: [/asks unix:\/\/\/run\/soci\/soci\.sock.*--chain/],
  },
  {
    what: "another's endpoint, in two words",
    tree: { ...kubeadm, ...flagged(...other.split('=')) },
    refusals: [/--chain/],
  },
  {
    what: "another's endpoint, chained",
    tree: { ...kubeadm, ...flagged(other) },
    wanted: { ...host, chain: true },
    refusals: [],
  },
  {
    what: "another's endpoint, providers",
    tree: { ...kubeadm, ...flagged(other) },
    wanted: provider,
    refusals: [],
  },
  {
    what: "another's endpoint in kubelet's configuration",
    tree: {
      ...kubeadm,
      '/var/lib/kubelet/config.yaml': 'imageServiceEndpoint: unix:///run/soci/soci.sock\n',
    },
    refusals: [/--chain/],
  },
  {
    what: 'a drop-in of the configuration beats it, and the runtime is fine',
    tree: {
      ...kubeadm,
      ...flagged('--config=/var/lib/kubelet/config.yaml', '--config-dir=/etc/kubelet.d'),
      '/var/lib/kubelet/config.yaml': 'imageServiceEndpoint: unix:///run/soci/soci.sock\n',
      '/etc/kubelet.d/10-a.conf': 'imageServiceEndpoint: unix:///var/run/containerd/containerd.sock\n',
    },
    refusals: [],
  },
  {
    what: 'our endpoint',
    tree: { ...kubeadm, ...flagged('--image-service-endpoint=unix:///run/kubelet-image-service/image.sock') },
    refusals: [],
  },
  {
    what: 'our endpoint of an earlier run',
    tree: {
      ...kubeadm,
      ...flagged('--image-service-endpoint=unix:///run/old.sock'),
      ...dropIn(
        '90-kubelet-image-service.conf',
        '# BEGIN kubelet-image-service\n[Service]\nExecStartPre=-/opt/x kubelet-arguments --endpoint unix:///run/old.sock --write /run/y\n# END kubelet-image-service\n',
      ),
    },
    refusals: [],
  },
  {
    what: 'a directory that is none',
    tree: kubeadm,
    wanted: { ...host, directory: '/opt/../etc' },
    refusals: [/^--directory: expected/],
  },
  {
    what: 'a directory with a space',
    tree: kubeadm,
    wanted: { ...host, directory: '/opt/a b' },
    refusals: [/^--directory: expected/],
  },
  {
    what: 'musl',
    tree: { ...kubeadm, '/etc/os-release': 'ID=alpine\nVERSION_ID=3.20\n' },
    refusals: [/no glibc/],
  },
];

describe('what is refused', () => {
  for (const { what, tree, wanted, refusals } of cases) {
    test(what, async () => matches((await observed(tree, wanted)).refusals, refusals));
  }

  const releases: readonly (readonly [id: string, version: string, isOld: boolean])[] = [
    ['rhel', '7.9', true],
    ['rhel', '8.4', false],
    ['centos', '7', true],
    ['ubuntu', '18.04', true],
    ['ubuntu', '20.04', false],
    ['debian', '9', true],
    ['debian', '10', false],
    ['amzn', '2', true],
    ['amzn', '2023', false],
    ['sles', '15.2', true],
    ['sles', '15.3', false],
    ['flatcar', '4081.2.0', false],
  ];
  for (const [id, version, isOld] of releases) {
    test(`glibc of ${id} ${version}`, async () => {
      const node = await observed({ ...kubeadm, '/etc/os-release': `ID=${id}\nVERSION_ID="${version}"\n` });
      matches(node.refusals, isOld ? [/glibc is older than 2\.28/] : []);
    });
  }
});

describe('who may write where our files are', () => {
  const own = '/opt/kubelet-image-service';
  const elsewhere = { ...host, directory: '/srv/own/bin' };
  const rows: readonly {
    readonly what: string;
    readonly directories: ConstructorParameters<typeof TreeFiles>[1];
    readonly wanted?: Wanted;
    readonly refusals: readonly RegExp[];
  }[] = [
    { what: 'root alone', directories: { [own]: {}, [`${own}/bin`]: { mode: 0o700 } }, refusals: [] },
    {
      what: 'a group, the directory itself',
      directories: { [`${own}/bin`]: { mode: 0o775 } },
      refusals: [
        /^\/opt\/kubelet-image-service\/bin \(owner 0, mode 0775\) may be written by others than root/,
      ],
    },
    {
      what: 'everybody, one above',
      directories: { '/opt': { mode: 0o1777 } },
      refusals: [/^\/opt \(owner 0, mode 1777\)/],
    },
    {
      what: 'somebody else, one above',
      directories: { '/opt': { owner: 1000 } },
      refusals: [/^\/opt \(owner 1000, mode 0755\)/],
    },
    {
      what: 'somebody else, where the state is and above all of it',
      directories: { '/': { owner: 1 }, '/var/lib': { mode: 0o757 } },
      refusals: [/^\/ \(owner 1, /, /^\/var\/lib \(owner 0, mode 0757\)/],
    },
    {
      what: 'somebody else, where a link leads',
      directories: {
        '/opt': { realPath: '/data/opt' },
        '/data': { owner: 7 },
        '/data/opt': {},
      },
      refusals: [/^\/data \(owner 7, /],
    },
    {
      what: 'somebody else, a directory that was asked for',
      directories: { '/srv/own': { owner: 7 }, '/opt': { owner: 7 } },
      wanted: elsewhere,
      refusals: [/^\/srv\/own \(owner 7, .* or name another directory with --directory$/],
    },
  ];
  for (const { what, directories, wanted, refusals } of rows) {
    test(what, async () => matches((await observed(kubeadm, wanted, directories)).refusals, refusals));
  }
});

describe('a start that may not take long', () => {
  const short = (setting: string) => [
    new RegExp(`^kubelet\\.service is started with ${setting}, .*expected 30s or more`),
  ];
  const manager = (text: string) => `[Manager]\n${text}\n`;
  const rows: readonly (readonly [what: string, tree: NodeTree, refusals: readonly RegExp[]])[] = [
    [
      'too short',
      dropIn('20-x.conf', '[Service]\nTimeoutStartSec=29s 900ms\n'),
      short('TimeoutStartSec=29s 900ms'),
    ],
    ['a number is seconds', dropIn('20-x.conf', '[Service]\nTimeoutSec=5\n'), short('TimeoutSec=5')],
    ['long enough', dropIn('20-x.conf', '[Service]\nTimeoutStartSec=30\n'), []],
    ['for ever', dropIn('20-x.conf', '[Service]\nTimeoutStartSec=0\n'), []],
    ['for ever, in a word', dropIn('20-x.conf', '[Service]\nTimeoutSec=infinity\n'), []],
    [
      'the last one that systemd understands counts',
      dropIn(
        '20-x.conf',
        '[Service]\nTimeoutSec=60\nTimeoutStartSec=5s\nTimeoutStartSec=soon\nTimeoutSec=\n',
      ),
      short('TimeoutStartSec=5s'),
    ],
    [
      'of all units',
      { '/etc/systemd/system.conf': manager('DefaultTimeoutStartSec=10s') },
      short('DefaultTimeoutStartSec=10s'),
    ],
    [
      'of all units, in a drop-in',
      {
        '/etc/systemd/system.conf': manager('#DefaultTimeoutStartSec=90s'),
        '/usr/lib/systemd/system.conf.d/50-x.conf': manager('DefaultTimeoutStartSec=10s'),
      },
      short('DefaultTimeoutStartSec=10s'),
    ],
    [
      'of all units, but one',
      {
        '/run/systemd/system.conf.d/50-x.conf': manager('DefaultTimeoutStartSec=10s'),
        ...dropIn('20-x.conf', '[Service]\nTimeoutStartSec=2min\n'),
      },
      [],
    ],
    [
      'a drop-in of the manager that is masked',
      {
        '/etc/systemd/system.conf.d/50-x.conf': maskedUnit,
        '/usr/lib/systemd/system.conf.d/50-x.conf': manager('DefaultTimeoutStartSec=10s'),
      },
      [],
    ],
  ];
  for (const [what, tree, refusals] of rows) {
    test(what, async () => matches((await observed({ ...kubeadm, ...tree })).refusals, refusals));
  }
});

describe('the version of systemd', () => {
  const old = [/^its systemd is \d+, expected 242 or newer/];
  const rows: readonly (readonly [paths: readonly string[], refusals: readonly RegExp[]])[] = [
    [['/usr/lib/systemd/libsystemd-shared-239.so'], old],
    [['/lib/systemd/libsystemd-shared-241.so'], old],
    [['/lib64/systemd/libsystemd-shared-241.so'], old],
    [['/usr/lib/aarch64-linux-gnu/systemd/libsystemd-shared-241.so'], old],
    [['/usr/lib/systemd/libsystemd-shared-242.so'], []],
    [['/usr/lib/systemd/libsystemd-shared-252.23-3.amzn2023.so'], []],
    [['/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-255.so'], []],
    [['/usr/lib/systemd/libsystemd-shared-239.so', '/usr/lib64/systemd/libsystemd-shared-252.so'], []],
    [['/usr/lib/systemd/libsystemd-core-239.so', '/opt/systemd/libsystemd-shared-239.so'], []],
  ];
  for (const [paths, refusals] of rows) {
    test(paths.join(', '), async () => {
      const tree = { ...kubeadm, ...Object.fromEntries(paths.map((path) => [path, ''])) };
      matches((await observed(tree)).refusals, refusals);
    });
  }
});

describe('how arguments get in', () => {
  const command = (execStart: string) => ({
    ...kubeadm,
    ...dropIn('20-x.conf', `[Service]\nExecStart=\nExecStart=${execStart}\n`),
  });
  const ways: readonly (readonly [execStart: string, way: object])[] = [
    ['/usr/bin/kubelet $KUBELET_EXTRA_ARGS $KUBELET_OPTS --v=2', amend('KUBELET_OPTS')],
    ['/usr/bin/kubelet ${KUBELET_EXTRA_ARGS}', raw('/usr/bin/kubelet ${KUBELET_EXTRA_ARGS}')],
    ['/usr/bin/kubelet --x=$KUBELET_EXTRA_ARGS', raw('/usr/bin/kubelet --x=$KUBELET_EXTRA_ARGS')],
    ['/usr/bin/kubelet $$KUBELET_EXTRA_ARGS', raw('/usr/bin/kubelet $$KUBELET_EXTRA_ARGS')],
    ['-/usr/bin/kubelet --a="b c"\\\n\t--d %n  ', raw('-/usr/bin/kubelet --a="b c"\\\n\t--d %n  ')],
    [`/usr/bin/kubelet $KUBELET_OPTS ${other}`, raw(`/usr/bin/kubelet $KUBELET_OPTS ${other}`)],
  ];
  for (const [execStart, way] of ways) {
    test(execStart, async () => {
      assert.deepEqual((await observed(command(execStart))).kubelet?.argumentsPath, way);
    });
  }

  test('a drop-in that is masked in /etc does not count', async () => {
    const tree = {
      ...kubeadm,
      '/etc/systemd/system/kubelet.service.d/10-kubeadm.conf': maskedUnit,
      [unit]: '[Service]\nExecStart=/var/lib/minikube/kubelet --x\n',
    };
    assert.deepEqual((await observed(tree)).kubelet?.argumentsPath, raw('/var/lib/minikube/kubelet --x'));
  });

  test('a drop-in for all services counts', async () => {
    const tree = {
      ...kubeadm,
      '/run/systemd/system/service.d/50-x.conf': '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --all\n',
    };
    assert.deepEqual((await observed(tree)).kubelet?.argumentsPath, raw('/usr/bin/kubelet --all'));
  });
});
