import type { NodeFiles } from '../contracts/node.js';
import type { Desired, NodeSnapshot, ObservedNode, Plan } from './node.js';
import { observe, type Wanted } from './observe.js';
import { planInstall, planUninstall } from './plan.js';
import { readNode } from './snapshot.js';
import type { WrittenRecord } from './written-record.js';

/** What decides; all of it but the reading is pure. */
export interface Planning {
  readNode(files: NodeFiles, also: readonly string[]): Promise<NodeSnapshot>;
  observe(snapshot: NodeSnapshot, wanted?: Wanted): ObservedNode;
  planInstall(desired: Desired, observed: ObservedNode, record: WrittenRecord): Plan;
  planUninstall(observed: ObservedNode, record: WrittenRecord): Plan;
}

export const usualPlanning: Planning = { readNode, observe, planInstall, planUninstall };
