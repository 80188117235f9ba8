import { z } from 'zod';
import { isGuid } from '../../reference/guid.js';
import { duration } from '../../settings/duration.js';
import { readableFile } from '../../settings/file-path.js';
import { serverKeys } from '../../settings/server-keys.js';
import { proofKeys } from '../machine/settings.js';

const expectedId = 'expected an ID such as 11111111-2222-3333-4444-555555555555';

/** @returns in lower case; undefined where it is none */
export function guidIn(value: unknown): string | undefined {
  return typeof value === 'string' && isGuid(value) ? value.toLowerCase() : undefined;
}

const ids = (what: string) =>
  z
    .array(
      z
        .string({ error: expectedId })
        .refine(isGuid, expectedId)
        .transform((text) => text.toLowerCase()),
      { error: `expected a list of ${what}` },
    )
    .min(1, `expected at least one of the ${what}`)
    .optional();

export const azureIdentitySettings = z
  .strictObject({
    subscriptions: ids('subscriptions').describe(
      'Subscriptions whose virtual machines are let in by an attested document. A managed identity, and the machine it was asked on, must be of one of them as well where `tenants` stands beside.',
    ),
    tenants: ids('tenants').describe(
      'Tenants of Entra ID, by their IDs, whose managed identities are let in by a token.',
    ),
    audiences: z
      .array(z.string().min(1), { error: 'expected a list of audiences' })
      .min(1, 'expected at least one audience')
      .describe(
        'Whom proofs must be for: for documents the name machines know this proxy by (`docker.example.com`), for tokens what is in `aud`: the App ID URI of an app registration, or its client ID. Choose names that nothing else accepts.',
      ),
    roots: readableFile()
      .optional()
      .describe(
        'Root authorities that the certificates of attested documents must lead to, as PEM, in place of those of DigiCert and Microsoft that Node.js brings along.',
      ),
    intermediates: readableFile()
      .optional()
      .describe(
        "Authorities between those and the documents' certificates, as PEM: they need not be fetched from `www.microsoft.com` then. Others still are.",
      ),
    maxAge: duration({ min: '5m', max: '6h' })
      .prefault('15m')
      .describe(
        'How long an attested document is accepted after it was made. The source of this program shows one for up to 14 minutes.',
      ),
    clockSkew: duration({ max: '5m' })
      .prefault('60s')
      .describe('How much the clocks of Azure and of machines may differ from ours.'),
    ...proofKeys,
    ...serverKeys,
  })
  .refine((one) => one.subscriptions !== undefined || one.tenants !== undefined, {
    path: ['subscriptions'],
    error: 'is missing: without it, or `tenants`, the machines of everybody in Azure would count',
  });

export type AzureIdentitySettings = z.output<typeof azureIdentitySettings>;
