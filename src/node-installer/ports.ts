import type { Clock } from '../contracts/clock.js';
import type { Log } from '../contracts/log.js';
import type { NodeFiles, Systemd } from '../contracts/node.js';
import type { Planning } from './planning.js';

/** The kubelet that runs, or the k3s or RKE2 it is part of. */
export interface KubeletProcess {
  readonly pid: number;
  /** Of `/proc/PID/cmdline`. k3s and RKE2 overwrite theirs with a title. */
  readonly arguments: readonly string[];
}

export interface KubeletHealth {
  /** @returns the main process of a unit, or undefined where none runs. @throws an Error of one line */
  look(unit: string): Promise<KubeletProcess | undefined>;
  /** Asks `/healthz` on 127.0.0.1:10248, within a few seconds. @returns why it is not healthy, or undefined */
  healthz(): Promise<string | undefined>;
}

export interface EndpointProbe {
  /**
   * Asks for ImageFsInfo again and again until it answers.
   *
   * @param endpoint `unix:///path`
   * @param timeout milliseconds in all
   * @returns why kubelet could not work with it, in one line; undefined where it could
   */
  answers(endpoint: string, timeout: number): Promise<string | undefined>;
  /**
   * Whether ImageFsInfo, ListImages and ImageStatus through the endpoint say what the runtime itself says.
   *
   * @param runtimeEndpoint undefined: the default
   * @returns the first difference, or why it could not be told
   */
  compare(endpoint: string, runtimeEndpoint: string | undefined): Promise<string | undefined>;
}

/** A clock one can wait by. */
export interface Time extends Clock {
  /** @param milliseconds */
  sleep(milliseconds: number): Promise<void>;
}

/** What acts on a node. Each call may fail at any time: a full disk, a D-Bus that is gone. */
export interface NodePorts {
  readonly files: NodeFiles;
  readonly systemd: Systemd;
  readonly kubelet: KubeletHealth;
  readonly endpoint: EndpointProbe;
  readonly clock: Time;
  readonly log: Log;
}

export interface InstallationParts extends NodePorts {
  /** Where files stay over a reboot: `ObservedNode.stateDirectory`. */
  readonly stateDirectory: string;
  /** Absent: what this version knows of platforms. */
  readonly planning?: Planning;
}
