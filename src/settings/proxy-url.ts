import { z } from 'zod';
import { Secret } from '../secret.js';

const expected = 'expected a URL such as http://proxy.example.com:3128';

/** `http(s)://user:password@host:port` of a proxy to go out through. Parses to a Secret: it may hold a password. */
export const proxyUrl = () =>
  z
    .string({ error: expected })
    .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), expected)
    .transform((text) => new Secret(text));
