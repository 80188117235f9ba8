import { z } from 'zod';
import { defineDriver } from '../contracts/index.js';

/** No credential, on purpose: for registries that are asked anonymously. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'anonymous',
  config: z.strictObject({}),
  async open() {
    return {
      keyFor: () => '',
      credentialFor: async (_repository, { signal }) => {
        signal.throwIfAborted();
        return undefined;
      },
      close: async () => {},
    };
  },
});
