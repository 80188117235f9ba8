import { z } from 'zod';
import { duration } from './duration.js';
import { readableFile } from './file-path.js';
import { proxyUrl } from './proxy-url.js';

/** How to reach a server over HTTPS: keys that every driver which asks one has. */
export const serverKeys = {
  ca: readableFile().optional().describe("PEM certificates to trust beside the system's roots."),
  proxy: proxyUrl().optional().describe('An HTTP(S) proxy to reach the server through.'),
  timeout: duration({ min: '100ms', max: '1m' })
    .prefault('10s')
    .describe('How long to wait for the whole of an answer.'),
};

const schema = z.object(serverKeys);
export type ServerSettings = z.output<typeof schema>;
