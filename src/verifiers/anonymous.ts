import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { Verifier } from '../contracts/index.js';

/** Lets in whoever shows nothing at all. A wrong password is never turned into an anonymous principal. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'anonymous',
  config: z.strictObject({}),
  async open(_config, { id }): Promise<Verifier> {
    return {
      givesGroups: false,
      verify: async ({ shown }) =>
        shown.kind === 'none'
          ? { verifier: id, name: 'anonymous', kind: 'anonymous', groups: [], attributes: {} }
          : undefined,
      close: async () => undefined,
    };
  },
});
