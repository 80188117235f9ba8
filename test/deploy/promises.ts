import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { Manifest } from './kustomize.js';

// What the manifests promise beyond being valid. Each function returns sentences about what is broken.

type Labels = Readonly<Record<string, string>>;

/** Of a Deployment or a DaemonSet. */
export interface Workload {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels: Labels };
    readonly updateStrategy?: { readonly rollingUpdate?: unknown };
    readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: IPodSpec };
  };
}

/** Whatever a pod of the image service may have of a node, and why. */
export const hostPaths: Readonly<Record<string, string>> = {
  '/opt/kubelet-image-service/bin': 'the executable is there before a pod can be',
  '/home/kubernetes/bin': 'on GKE the one directory that programs of ours can be executed in',
  '/var/lib/kubelet-image-service': 'the configuration, the journal and the result',
  '/home/kubernetes/kubelet-image-service': 'the same on GKE, where the other does not stay',
  '/run/systemd': "systemd's socket",
  '/run/kubelet-image-service': 'where kubelet finds the pod that serves',
  '/run/containerd': "the runtime's socket",
};

/** Secrets that administrators make, as the guides say. */
export const secretsOfOthers = ['docker-registry-proxy-keys', 'docker-registry-proxy-users'];

const isWorkload = ({ kind }: Manifest) => kind === 'Deployment' || kind === 'DaemonSet';

export function workloadsOf(manifests: readonly Manifest[]): readonly Workload[] {
  return manifests.filter(isWorkload).map((one) => one as unknown as Workload);
}

/** All that is told here. */
export function brokenPromises(manifests: readonly Manifest[]): readonly string[] {
  const workloads = workloadsOf(manifests);
  return [
    ...names(manifests),
    ...workloads.flatMap((one) => [...references(one, manifests), ...privileges(one), ...mounts(one)]),
    ...selections(manifests),
    ...workloads.filter(({ kind }) => kind === 'DaemonSet').flatMap(nodePromises),
  ].map(String);
}

function names(manifests: readonly Manifest[]): readonly string[] {
  const all = manifests.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  const namespaces = manifests
    .filter(({ kind }) => kind === 'Namespace')
    .map(({ metadata }) => metadata.name);
  const elsewhere = manifests.filter(
    ({ kind, metadata }) => kind !== 'Namespace' && !namespaces.includes(metadata.namespace ?? ''),
  );
  return [
    ...all.filter((one, index) => all.indexOf(one) !== index).map((one) => `${one} is there twice`),
    ...elsewhere.map(({ kind, metadata }) => `${kind}/${metadata.name} is in no namespace of these`),
  ];
}

function references({ metadata, spec }: Workload, manifests: readonly Manifest[]): readonly string[] {
  const has = (kind: string, name = '') =>
    manifests.some((one) => one.kind === kind && one.metadata.name === name);
  const pod = spec.template.spec;
  const sources = (pod.volumes ?? []).flatMap(({ configMap, secret, projected }) => [
    ...(configMap ? [{ kind: 'ConfigMap', ...configMap }] : []),
    ...(secret ? [{ kind: 'Secret', name: secret.secretName, optional: secret.optional }] : []),
    ...(projected?.sources ?? []).flatMap((one) => [
      ...(one.configMap ? [{ kind: 'ConfigMap', ...one.configMap }] : []),
      ...(one.secret ? [{ kind: 'Secret', ...one.secret }] : []),
    ]),
  ]);
  const missing = sources.filter(
    ({ kind, name, optional }) =>
      optional !== true && !has(kind, name) && !(kind === 'Secret' && secretsOfOthers.includes(name ?? '')),
  );
  return [
    ...missing.map(({ kind, name }) => `${metadata.name}: ${kind}/${name} is not there`),
    ...(has('ServiceAccount', pod.serviceAccountName) ? [] : [`${metadata.name}: no such ServiceAccount`]),
  ];
}

/** No more than works: of Pod Security's `restricted` all but root and hostPath, and these for the nodes alone. */
function privileges({ kind, metadata, spec }: Workload): readonly string[] {
  const pod = spec.template.spec;
  const is = (condition: boolean, what: string) => (condition ? [] : [`${metadata.name}: ${what}`]);
  const forNodes = kind === 'DaemonSet';
  return [
    ...is(pod.hostPID === undefined && pod.hostIPC === undefined, "the node's processes"),
    ...is(pod.hostUsers === undefined, 'a user namespace: systemd would not take its root for one'),
    ...is(pod.automountServiceAccountToken === false, "a token of the API server's"),
    ...is(pod.securityContext?.seccompProfile?.type === 'RuntimeDefault', 'no seccomp profile'),
    ...is(forNodes || pod.securityContext?.runAsNonRoot === true, 'root'),
    ...is(forNodes || (pod.volumes ?? []).every(({ hostPath }) => !hostPath), 'directories of the node'),
    ...is(forNodes || pod.hostNetwork === undefined, "the node's network"),
    ...pod.containers.flatMap(containerPrivileges).map((what) => `${metadata.name}: ${what}`),
  ];
}

function containerPrivileges({ name, image = '', securityContext, resources, ports }: IContainer) {
  const is = (condition: boolean, what: string) => (condition ? [] : [`${name}: ${what}`]);
  const { limits, requests } = resources ?? {};
  return [
    ...is(securityContext?.privileged === false, 'privileged'),
    ...is(securityContext?.allowPrivilegeEscalation === false, 'privilege escalation'),
    ...is(securityContext?.readOnlyRootFilesystem === true, 'a root filesystem that it can write'),
    ...is(securityContext?.capabilities?.drop?.join() === 'ALL', 'capabilities'),
    ...is(securityContext?.capabilities?.add === undefined, 'more capabilities'),
    ...is(limits?.memory !== undefined && requests?.memory !== undefined, 'memory without a bound'),
    ...is(requests?.cpu !== undefined && limits?.cpu === undefined, 'a CPU limit, or no request'),
    ...is(
      (ports ?? []).every(({ hostPort }) => hostPort === undefined),
      'ports of the node',
    ),
    ...is(/^(registry\.example\.com\/)?[a-z-]+(:[\d.]+)?$/.test(image), `the image ${image}`),
  ];
}

function mounts({ metadata, spec }: Workload): readonly string[] {
  const { volumes = [], containers } = spec.template.spec;
  const mounted = containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
  const unused = volumes.filter(({ name }) => !mounted.some((mount) => mount.name === name));
  const missing = mounted.filter(({ name }) => !volumes.some((volume) => volume.name === name));
  const subPaths = mounted.filter(({ subPath }) => subPath !== undefined);
  return [
    ...unused.map(({ name }) => `${metadata.name}: nothing mounts ${name}`),
    ...missing.map(({ name }) => `${metadata.name}: no volume ${name}`),
    ...subPaths.map(({ name }) => `${metadata.name}: ${name} with a subPath never changes`),
  ];
}

interface Selecting {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Labels };
  readonly spec: {
    readonly selector?: Labels & { readonly matchLabels?: Labels };
    readonly podSelector?: { readonly matchLabels?: Labels };
    readonly ports?: readonly { readonly name: string; readonly targetPort: string }[];
    readonly endpoints?: readonly { readonly port: string }[];
    readonly rules?: readonly { readonly http: { readonly paths: readonly Path[] } }[];
  };
}

interface Path {
  readonly backend: { readonly service: { readonly name: string; readonly port: { readonly name: string } } };
}

const within = (few: Labels = {}, many: Labels = {}) =>
  Object.keys(few).length > 0 && Object.entries(few).every(([key, value]) => many[key] === value);

/** Each selector selects what it is for, and each port has its name there. */
function selections(manifests: readonly Manifest[]): readonly string[] {
  const workloads = workloadsOf(manifests);
  const all = manifests.map((one) => one as unknown as Selecting);
  const services = all.filter(({ kind }) => kind === 'Service');
  const ports = workloads.flatMap(({ spec }) =>
    spec.template.spec.containers.flatMap((one) => (one.ports ?? []).map(({ name }) => name)),
  );
  const wrong = all.filter(({ kind, metadata, spec }) => {
    const selectsPods = (labels?: Labels) =>
      workloads.some((one) => within(labels, one.spec.template.metadata.labels));
    const portOf = (name: string) => services.find((one) => one.metadata.name === name)?.spec.ports ?? [];
    if (kind === 'Deployment' || kind === 'DaemonSet') {
      const own = workloads.find((one) => one.kind === kind && one.metadata.name === metadata.name);
      return !within(own?.spec.selector.matchLabels, own?.spec.template.metadata.labels);
    }
    if (kind === 'Service')
      return (
        !selectsPods(spec.selector) || !spec.ports?.every(({ targetPort }) => ports.includes(targetPort))
      );
    if (kind === 'PodDisruptionBudget') return !selectsPods(spec.selector?.matchLabels);
    if (kind === 'NetworkPolicy') return !selectsPods(spec.podSelector?.matchLabels);
    if (kind === 'ServiceMonitor') {
      const [service] = services.filter((one) => within(spec.selector?.matchLabels, one.metadata.labels));
      return !spec.endpoints?.every(({ port }) => service?.spec.ports?.some(({ name }) => name === port));
    }
    if (kind === 'Ingress') {
      const backends = (spec.rules ?? []).flatMap(({ http }) =>
        http.paths.map(({ backend }) => backend.service),
      );
      return !backends.every(({ name, port }) => portOf(name).some((one) => one.name === port.name));
    }
    return false;
  });
  return wrong.map(({ kind, metadata }) => `${kind}/${metadata.name} does not lead to what it is for`);
}

/** For pods of the image service: they come to labelled nodes, stay there, and have little of them. */
function nodePromises({ metadata, spec }: Workload): readonly string[] {
  const pod = spec.template.spec;
  const serves = pod.containers.some(({ args }) => args?.[0] === 'serve');
  const is = (condition: boolean, what: string) => (condition ? [] : [`${metadata.name}: ${what}`]);
  const update = serves ? { maxSurge: 1, maxUnavailable: 0 } : { maxUnavailable: 1 };
  return [
    ...is(pod.nodeSelector?.['kubelet-image-service/node'] === 'enabled', 'on nodes that nobody labelled'),
    ...is(JSON.stringify(pod.tolerations) === '[{"operator":"Exists"}]', 'not on tainted nodes'),
    ...is(pod.priorityClassName === 'system-node-critical', 'evicted for others'),
    ...is(same(spec.updateStrategy?.rollingUpdate, update), 'another update strategy'),
    ...is(
      pod.containers.every(({ livenessProbe }) => !livenessProbe),
      'a livenessProbe',
    ),
    ...is(
      pod.containers.every(({ readinessProbe }) => readinessProbe?.exec),
      'no readinessProbe',
    ),
    ...is(pod.hostNetwork === undefined || serves, "the node's network for one that asks nobody"),
    ...is(pod.dnsPolicy === 'Default', 'cluster DNS, whose image may need us'),
    ...is(!serves || (pod.terminationGracePeriodSeconds ?? 0) > 120, 'less time to stop than drainTimeout'),
    ...(pod.volumes ?? []).flatMap((volume) => hostPathProblems(volume, pod.containers)),
  ];
}

/** A directory of the node, at the path of the node below `/node`, or at its own where the socket in it is what counts. */
function hostPathProblems(
  { name, hostPath }: NonNullable<IPodSpec['volumes']>[number],
  containers: readonly IContainer[],
): readonly string[] {
  if (!hostPath) return [];
  const { path } = hostPath;
  const wrong = containers
    .flatMap(({ volumeMounts = [] }) => volumeMounts.filter((mount) => mount.name === name))
    .filter(({ mountPath, readOnly }) => {
      if (path.startsWith('/run/')) return mountPath !== path || (path !== ownSockets && readOnly !== true);
      return mountPath !== `/node${path}`;
    });
  return [
    ...(path in hostPaths ? [] : [`the directory ${path} of the node`]),
    ...(hostPath.type?.startsWith('Directory') ? [] : [`${path}: not as a directory`]),
    ...wrong.map(({ mountPath }) => `${path} of the node at ${mountPath}`),
  ];
}

const ownSockets = '/run/kubelet-image-service';

function same(one: unknown, other: Readonly<Record<string, number>>): boolean {
  const sorted = (value: object) => JSON.stringify(Object.entries(value).sort());
  return typeof one === 'object' && one !== null && sorted(one) === sorted(other);
}
