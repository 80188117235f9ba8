import { z } from 'zod';
import { expectedPath, explainUnixAddress, parseSocketAddress, parseUnixAddress } from './socket-text.js';

// Whoever only reads and prints addresses, such as `probe`, which is to start fast, takes these from there.
export {
  maxSocketPath,
  parseSocketAddress,
  parseUnixAddress,
  printSocketAddress,
  type SocketAddress,
} from './socket-text.js';

const expectedAddress = `${expectedPath}, or fd:// or fd://N for a socket that systemd opens`;

/** @param usual for messages: what most would write, where there is such a thing */
export const unixAddress = (usual?: string) => {
  const wanted = usual === undefined ? expectedPath : `${expectedPath}, such as ${usual}`;
  return z
    .string({ error: wanted })
    .transform((text, context) => parseUnixAddress(text) ?? refused(context, explained(text, wanted)))
    .meta({ title: 'unix:///path' });
};

export const socketAddress = () =>
  z
    .string({ error: expectedAddress })
    .transform(
      (text, context) => parseSocketAddress(text) ?? refused(context, explained(text, expectedAddress)),
    )
    .meta({ title: 'unix:///path, fd:// or fd://N' });

const explained = (text: string, wanted: string) => explainUnixAddress(text).replace(expectedPath, wanted);

function refused(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
