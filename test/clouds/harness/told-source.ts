type Given = { username: string; password: string; expiresAt?: number } | undefined;

/** What the source of a test gives, and how often it was asked. */
export interface Told {
  /** Asked so often, of all its instances. */
  asked: number;
  opened: number;
  closed: number;
  /** Throws to be UNAVAILABLE. @param registry that it is for @returns undefined for none; times in milliseconds since the epoch */
  give(count: number, registry: string): Given | Promise<Given>;
}

/**
 * A credential source in this process that gives what a test tells it to: a file for `module:`, as somebody's own driver
 * would be.
 *
 * @param name nobody else's
 */
export function toldSource(name: string, give: Told['give']): { readonly told: Told; readonly file: string } {
  const told: Told = { asked: 0, opened: 0, closed: 0, give };
  (globalThis as unknown as Record<string, Told>)[name] = told;
  const file = `
import { z } from '${import.meta.resolve('zod')}';
import { Secret } from '${import.meta.resolve('../../../src/secret.ts')}';
const told = globalThis['${name}'];
export const driver = {
  apiVersion: 1, kind: 'credential-source', type: 'told', config: z.strictObject({ note: z.string().optional() }),
  async open() {
    told.opened++;
    return {
      async credentialFor({ registry }) {
        const given = await told.give(++told.asked, registry);
        return given && { kind: 'basic', ...given, password: new Secret(given.password) };
      },
      keyFor: () => 'one for all',
      async close() { told.closed++; },
    };
  },
};
`;
  return { told, file };
}
