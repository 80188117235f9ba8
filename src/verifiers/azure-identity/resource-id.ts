import { guidIn } from './settings.js';

/** A resource of Azure Resource Manager, by its ID. Of its letters the case says nothing: all are lower here. */
export interface AzureResource {
  readonly text: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  /** True for a virtual machine or a scale set of them. */
  readonly isCompute: boolean;
}

const form =
  /^\/subscriptions\/(?<subscription>[0-9a-f-]{36})\/resourcegroups\/(?<group>[^/]{1,90})\/providers\/(?<provider>[a-z0-9.]{1,128})(?:\/[^/]{1,128}){2,8}$/;

/** @returns undefined where it is none, or one that logs could not show */
export function parseResource(value: unknown): AzureResource | undefined {
  if (typeof value !== 'string' || value.length > 1024 || /[\p{Cc}\s]/u.test(value)) return undefined;
  const text = value.toLowerCase();
  const { subscription, group, provider } = form.exec(text)?.groups ?? {};
  const subscriptionId = guidIn(subscription);
  if (subscriptionId === undefined || group === undefined) return undefined;
  return { text, subscriptionId, resourceGroup: group, isCompute: provider === 'microsoft.compute' };
}
