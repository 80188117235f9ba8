import { startWorld } from '../../clouds/harness/world.js';
import {
  type CloudMachine,
  type Ground,
  startAwsMachines,
  startAzureMachines,
  startGoogleMachines,
  startPods,
  type VerifierSettings,
} from './cloud-machines.js';
import { machineWithHelper } from './machine-with-helper.js';
import type { Workspace } from './workspace.js';

/** A machine that somebody works on. */
export interface Machine extends CloudMachine {
  /** What programs find there. */
  readonly workspace: Workspace;
}

export interface Machines {
  /** Ours and those of strangers in each cloud. */
  readonly all: readonly Machine[];
  /** One that is in no cloud. */
  readonly nowhere: Workspace;
  /** Of the proxy. */
  readonly verifiers: readonly VerifierSettings[];
  /** Everything that any of them has shown, or signed with. */
  secrets(): readonly string[];
  /** What metadata servers were asked: paths, with their queries. */
  asked(): readonly string[];
}

/** A port where nobody is. */
const nobody = '127.0.0.1:1';
const nothing = {
  GCE_METADATA_HOST: nobody,
  AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${nobody}`,
  AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://${nobody}`,
};

/** Machines of three clouds and pods of a cluster. @param audience the host they know the proxy by */
export async function startMachines(workspace: Workspace, audience: string): Promise<Machines> {
  const world = await startWorld();
  workspace.onClose(() => world.close());
  const way = { proxy: world.proxyUrl, ca: workspace.file('proxy/world.pem', world.authority) };
  const after: Ground['after'] = (close) => workspace.onClose(close);
  const ground = { workspace, world, audience, way, after };
  const clouds = await Promise.all(
    [startGoogleMachines, startAwsMachines, startAzureMachines, startPods].map((start) => start(ground)),
  );
  return {
    all: clouds.flatMap(({ machines }) => machines).map((one) => machineOf(one, ground)),
    nowhere: machineWithHelper(workspace, 'nowhere', nothing),
    verifiers: clouds.flatMap(({ verifiers }) => verifiers),
    secrets: () => clouds.flatMap(({ secrets }) => secrets()),
    asked: () => clouds.flatMap(({ asked }) => asked()),
  };
}

function machineOf(machine: CloudMachine, { workspace, audience }: Ground): Machine {
  const { kind, isOurs, variables, credentials } = machine;
  const name = `${kind}-${isOurs ? 'ours' : 'strange'}`;
  const settings = JSON.stringify({ registries: [{ match: audience, credentials }] }); // JSON is YAML
  const configured = credentials !== undefined && {
    DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG: workspace.file(`${name}/registry-proxy.yaml`, settings),
  };
  const found = { ...nothing, ...variables, ...configured };
  return { ...machine, workspace: machineWithHelper(workspace, name, found) };
}
