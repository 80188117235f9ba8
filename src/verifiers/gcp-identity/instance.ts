import { z } from 'zod';
import type { AttributeValue, Principal } from '../../contracts/principal.js';
import type { Claims } from '../claims/claim-path.js';

/** A virtual machine of Google Cloud, as Google vouches for it. */
export interface Instance {
  readonly projectId: string;
  /** Digits. */
  readonly projectNumber: string;
  readonly zone: string;
  /** Digits; of no other machine, now or later. */
  readonly instanceId: string;
  /** Another machine may have it later. */
  readonly instanceName: string;
  /** The e-mail address; absent where Google has not verified it. */
  readonly serviceAccount?: string;
  /** The unique id of the service account. */
  readonly subject: string;
}

/** In `google.compute_engine`; Google adds to it now and then (`license_id`, `instance_confidentiality`). */
const computeEngine = z.object({
  /** With `example.com:` before it where a domain of old owns it. */
  project_id: z.string().regex(/^(?:[a-z0-9.-]{1,253}:)?[a-z0-9-]{1,63}$/),
  project_number: z.int().positive(),
  zone: z.string().regex(/^[a-z0-9-]{1,63}$/),
  instance_id: z.string().regex(/^[0-9]{1,20}$/),
  instance_name: z.string().regex(/^[a-z0-9-]{1,63}$/),
});

const identityClaims = z.object({
  sub: z.string().min(1).max(255),
  iat: z.number(),
  email: z.string().min(1).max(320).optional(),
  email_verified: z.boolean().optional(),
  google: z.object({ compute_engine: computeEngine }),
});

/** True for what claims to be of a virtual machine. For deciding who is to judge it. */
export function claimsInstance({ google }: Claims): boolean {
  return typeof google === 'object' && google !== null && Object.hasOwn(google, 'compute_engine');
}

/**
 * @param claims verified
 * @returns the machine, or why there is none in them, after "it"
 */
export function instanceOf(claims: Claims): Instance | string {
  if (!claimsInstance(claims)) return `names no virtual machine (google.compute_engine): ${whyNot(claims)}`;
  const parsed = identityClaims.safeParse(claims);
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join('.') ?? '';
    return `is not as Google makes them: its claim ${where} is missing or wrong`;
  }
  const { sub, email, email_verified, google } = parsed.data;
  const { project_id, project_number, zone, instance_id, instance_name } = google.compute_engine;
  return {
    projectId: project_id,
    projectNumber: String(project_number),
    zone,
    instanceId: instance_id,
    instanceName: instance_name,
    ...(email !== undefined && email_verified === true && { serviceAccount: email }),
    subject: sub,
  };
}

/** Whose token it is likely to be, for who has to find out. */
function whyNot({ email }: Claims): string {
  if (typeof email !== 'string') {
    return 'was it asked for without format=full?';
  }
  if (!/\.gserviceaccount\.com$/.test(email)) return 'it is of a person';
  return 'it is of a service account, as in GKE with Workload Identity, in Cloud Run, or by impersonation';
}

/** @param id the verifier's. @param expiresAt milliseconds since the epoch */
export function principalOf(instance: Instance, id: string, expiresAt: number): Principal {
  const { projectId, zone, instanceName } = instance;
  const attributes: Record<string, AttributeValue> = { ...instance };
  return {
    verifier: id,
    name: `${projectId}/${zone}/${instanceName}`,
    kind: 'machine',
    groups: [],
    attributes,
    expiresAt,
  };
}
