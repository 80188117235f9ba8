import { parseStrictJsonObject } from '../../protocol/json-object.js';
import { guidIn } from './settings.js';

/**
 * What Azure signs about a virtual machine ("Azure Instance Metadata Service", attested data). Of a machine of the classic
 * model it does not say all of it.
 */
export interface DocumentContent {
  /** In lower case, as `subscriptionId`. */
  readonly vmId: string;
  readonly subscriptionId: string;
  readonly nonce: string;
  /** Milliseconds since the epoch, as `expiresOn`: six hours later. */
  readonly createdOn: number;
  readonly expiresOn: number;
  /** Of the image; empty where it has none. */
  readonly sku: string;
  /** Of an image of the marketplace; its fields are empty for others. */
  readonly plan: { readonly name: string; readonly product: string; readonly publisher: string };
}

/**
 * @param bytes those that are signed
 * @returns undefined where they are not such a document, or one that can be read in two ways
 */
export function parseContent(bytes: Buffer): DocumentContent | undefined {
  const fields = parseStrictJsonObject(bytes);
  const times = objectIn(fields?.timeStamp);
  const plan = objectIn(fields?.plan);
  const [vmId, subscriptionId] = [guidIn(fields?.vmId), guidIn(fields?.subscriptionId)];
  const [createdOn, expiresOn] = [timeIn(times.createdOn), timeIn(times.expiresOn)];
  const nonce = fields?.nonce;
  if (vmId === undefined || subscriptionId === undefined || typeof nonce !== 'string') return undefined;
  if (createdOn === undefined || expiresOn === undefined) return undefined;
  return {
    ...{ vmId, subscriptionId, nonce, createdOn, expiresOn },
    sku: textIn(fields?.sku),
    plan: { name: textIn(plan.name), product: textIn(plan.product), publisher: textIn(plan.publisher) },
  };
}

const time =
  /^(?<month>\d\d)\/(?<day>\d\d)\/(?<year>\d\d) (?<clock>\d\d:\d\d:\d\d) (?<hours>[+-]\d\d)(?<minutes>\d\d)$/;

/** `11/30/20 21:19:19 -0000` */
function timeIn(value: unknown): number | undefined {
  const found = typeof value === 'string' ? time.exec(value)?.groups : undefined;
  if (found === undefined) return undefined;
  const { year, month, day, clock, hours, minutes } = found;
  // ISO 8601 knows no -00:00.
  const zone = hours === '-00' && minutes === '00' ? 'Z' : `${hours}:${minutes}`;
  const parsed = Date.parse(`20${year}-${month}-${day}T${clock}${zone}`);
  return Number.isNaN(parsed) ? undefined : parsed;
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

/** Rules speak of it, and logs show it. */
function textIn(value: unknown): string {
  return typeof value === 'string' && /^[\x20-\x7e]{0,128}$/.test(value) ? value : '';
}
