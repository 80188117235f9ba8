const form = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The form that Azure gives IDs of subscriptions, tenants, applications and machines in, with hyphens (RFC 9562 section 4). */
export function isGuid(text: string): boolean {
  return form.test(text);
}
