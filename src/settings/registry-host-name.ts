import { z } from 'zod';
import { isRegistryHost } from '../reference/registry-host.js';

const expected = 'expected a host such as docker.io or localhost:5000, without https:// and without a path';

/** `host` or `host:port`. Parses to lower case. */
export const registryHostName = () =>
  z
    .string({ error: expected })
    .refine(isHost, { error: expected, abort: true })
    .transform((text) => text.toLowerCase())
    .meta({ title: 'host[:port]' });

/** The grammar lets ports over 65535 and odd IPv6 addresses pass, of which no URL can be made. */
const isHost = (text: string) => isRegistryHost(text) && URL.canParse(`https://${text}`);
