import { z } from 'zod';

/** For proofs that are good for minutes or hours. */
export const proofKeys = {
  firstUse: z
    .enum(['address', 'none'], { error: 'expected address or none' })
    .default('address')
    .describe(
      '`address`: a proof counts only from the address that showed it first (for IPv6 its /64), so that whoever got hold of it cannot use it from elsewhere. `none`: from anywhere, for machines that reach this proxy by changing addresses. Kept in `state`.',
    ),
};

/** AWS accounts, of which there must be one: without them those of everybody would count (threat 4). */
export const awsAccounts = () =>
  z
    .array(
      z
        .string({ error: 'expected the 12 digits of an account, in quotes' })
        .regex(/^\d{12}$/, 'expected the 12 digits of an account, in quotes'),
      { error: 'expected a list of accounts: without it those of everybody would count' },
    )
    .min(1, 'expected at least one account: without it those of everybody would count');
