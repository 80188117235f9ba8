import type { ServerResponse } from 'node:http';

/**
 * Of every answer of every listener; pages replace the policy by their own. Whoever may push decides what is read back,
 * and it is read back from the origin that has the cookies of signed-in people: a browser that is led there must neither
 * take it for a document whose scripts run, nor load it into a page of another site. Registry clients look at none of
 * these.
 */
export const inertHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; sandbox",
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
};

/** Before anything else is done with an answer, so that none can go without. */
export function makeInert(response: ServerResponse): void {
  for (const [name, value] of Object.entries(inertHeaders)) response.setHeader(name, value);
}
