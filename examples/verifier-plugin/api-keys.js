// @ts-check
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import {
  ChangingFile,
  defineVerifier,
  describeError,
  RegistryError,
  readableFile,
  z,
} from 'docker-registry-proxy/plugin';

// Machines log in with a key as their password: `docker login -u ci-main`. A key is 256 random bits, so its plain
// SHA-256 is safe to keep; a password that a person chose would need bcrypt or scrypt.
const keyGrammar = /^key_[A-Za-z0-9_-]{43}$/;

const keyFile = z.record(
  z.string().min(1),
  z.strictObject({
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'expected the SHA-256 of a key in hex'),
    groups: z.array(z.string().min(1)).default([]),
    attributes: z.record(z.string(), z.string()).default({}),
    expires: z.iso.datetime({ offset: true }).optional(),
  }),
);

/** @param {string} text */
function parseKeys(text) {
  const parsed = keyFile.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
  return new Map(Object.entries(parsed.data));
}

export const driver = defineVerifier({
  type: 'api-keys',
  config: z.strictObject({
    file: readableFile().describe('Names, and the SHA-256 of their keys. Read again when it changes.'),
  }),

  async open(config, { id, baseDirectory, clock, log }) {
    const file = new ChangingFile(resolve(baseDirectory, config.file.text), {
      parse: parseKeys,
      maxSize: 1024 * 1024,
      onFailure: (error) => log.error({ id, reason: describeError(error) }, 'keys not reloaded'),
    });
    await file.read(); // a file with a fault is told at the start, and not to the first client

    return {
      // Nobody else's passwords look like this, so this verifier is asked before all others.
      recognises: ({ shown }) => shown.kind === 'password' && keyGrammar.test(shown.password.reveal()),

      async verify({ shown }, { signal }) {
        signal.throwIfAborted(); // nobody waits for the answer any more; pass it on to whatever you call

        // "Not mine": the next verifier is asked.
        if (shown.kind !== 'password' || !keyGrammar.test(shown.password.reveal())) return undefined;

        // "Cannot tell now" would be UNAVAILABLE. Here the last good content of the file always answers.
        const known = (await file.read()).get(shown.username);
        const sha256 = createHash('sha256').update(shown.password.reveal()).digest('hex');
        const expiresAt = known?.expires === undefined ? undefined : Date.parse(known.expires);

        // "Mine, and wrong": nobody else is asked. The reason is for your log and never for the client.
        if (known?.sha256 !== sha256) throw new RegistryError('UNAUTHORIZED', { reason: 'no such key' });
        if (expiresAt !== undefined && expiresAt <= clock.now()) {
          throw new RegistryError('UNAUTHORIZED', { reason: `the key of ${shown.username} has expired` });
        }
        return {
          verifier: id,
          name: shown.username,
          kind: 'machine',
          groups: known.groups,
          attributes: known.attributes,
          ...(expiresAt !== undefined && { expiresAt }), // caps every token that is made from it
        };
      },

      close: async () => undefined, // here end timers, watchers and pools
    };
  },
});
