import { z } from 'zod';
import { isApiServerAudience } from '../../protocol/api-server-audience.js';
import { duration } from '../../settings/duration.js';
import { imagePattern } from '../../settings/image-pattern.js';
import { listenAddress } from '../../settings/listen-address.js';
import { namePattern } from '../../settings/name-pattern.js';
import { socketAddress, unixAddress } from '../../settings/socket-address.js';
import { auditSettings, logSettings } from '../log-settings.js';
import { isMapping } from '../mapping.js';
import { typeKeys } from '../type-keys.js';
import { adminSocketName, usualAdminSocket, usualSocket } from './usual-places.js';

const expectedMode = "expected a mode of four octal digits in quotes, such as '0600'";
const mode = (fallback: string) =>
  z
    .string({ error: expectedMode })
    .regex(/^0[0-7]{3}$/, expectedMode)
    .prefault(fallback)
    .transform((text) => Number.parseInt(text, 8))
    .meta({ title: 'mode' });

const patterns = (what: string) =>
  z.array(namePattern(), { error: `expected a list of ${what}` }).min(1, `expected at least one of ${what}`);

const expectedAudience = 'expected an audience such as docker.example.com';

const podIdentity = z.strictObject({
  audience: z
    .string({ error: expectedAudience })
    .min(1, expectedAudience)
    .max(255, expectedAudience)
    .refine((audience) => !isApiServerAudience(audience), {
      error:
        'is an audience of API servers: a token for it must never be shown to a registry; expected one that nothing else accepts, such as docker.example.com',
    })
    .describe("Whom the pods' tokens are for: one of `audiences` of the proxy's `kubernetes` verifier."),
  username: z
    .string({ error: 'expected _kubernetes, or a name such as _kubernetes-a' })
    .regex(/^_kubernetes(?:-[a-z0-9-]{1,64})?$/, 'expected _kubernetes, or a name such as _kubernetes-a')
    .default('_kubernetes')
    .describe('Another one where the proxy tells several clusters apart by it (`usernames`).'),
});

const image = z
  .strictObject({
    match: imagePattern().describe(
      'The images it is for, by registry and repository: `docker.example.com/**`. In the host `*` stands for any characters, in the repository for those of one component, and `**` for anything.',
    ),
    namespaces: patterns('namespaces')
      .optional()
      .describe('Only for pods of these namespaces; `*` stands for any characters.'),
    annotations: z
      .record(z.string().min(1).max(317), namePattern(), {
        error: "expected a mapping of annotations and patterns, such as { team: 'a-*' }",
      })
      .optional()
      .describe(
        'Only for pods with these annotations. Whoever writes a pod writes these: they narrow a rule, and are no proof.',
      ),
    credentials: z
      .looseObject(typeKeys(), { error: 'expected a mapping such as { type: aws-identity }' })
      .optional()
      .describe('A credential source: what the registry is shown.'),
    podIdentity: podIdentity
      .optional()
      .describe(
        "For `credential-provider`: the registry is shown the pod's own ServiceAccount token (KEP-4412). `credentials` are for pods without one, and for `serve`, which gets no such tokens.",
      ),
  })
  .refine(({ credentials, podIdentity }) => credentials !== undefined || podIdentity !== undefined, {
    error: 'expected `credentials`, such as { type: aws-identity }',
    path: ['credentials'],
    // Beside what is wrong with the other keys, and not only once that is right.
    when: ({ value }) => isMapping(value),
  });

/** The settings of `kubelet-image-service`. Entries that hold a driver are loose: its own schema checks the rest. */
export const imageServiceSchema = z.strictObject({
  listen: socketAddress()
    .prefault(`unix://${usualSocket}`)
    .describe(
      "The socket for kubelet's `--image-service-endpoint`. `fd://` is the first one that systemd hands over, `fd://4` the second.",
    ),
  socketMode: mode('0600').describe(
    'Of the sockets. Whoever may connect to `listen` may pull and remove images with the credentials below.',
  ),
  directoryMode: mode('0700').describe("Of the socket's directory, where it is not there yet."),
  runtime: z
    .looseObject(typeKeys(), {
      error: 'expected a mapping such as { type: cri, endpoint: unix:///run/containerd/containerd.sock }',
    })
    .optional()
    .describe('The container runtime that keeps the images. Needed for `serve`.'),
  images: z
    .array(image, {
      error:
        'expected a list such as [ { match: docker.example.com/**, credentials: { type: aws-identity } } ]',
    })
    .prefault([])
    .describe('Which images are pulled with a credential; the first that matches counts.'),
  credentialTimeout: duration({ min: '100ms', max: '10s' })
    .prefault('10s')
    .describe(
      'How long a pull waits for its credential; then it goes on without. Nodes that pull one image after the other wait with it.',
    ),
  admin: z
    .strictObject({
      socket: unixAddress()
        .optional()
        .describe(
          `Serves \`/livez\`, \`/readyz\`, \`/metrics\` and what \`status\` shows. Default: \`${adminSocketName}\` beside the socket of \`listen\`; for \`fd://\` ${usualAdminSocket}.`,
        ),
      listen: listenAddress()
        .optional()
        .describe(
          'Serves `/livez`, `/readyz` and `/metrics` at an address too. Nobody is asked for credentials there.',
        ),
    })
    .prefault({})
    .describe('For operators.'),
  log: logSettings(),
  audit: auditSettings('Writes a JSON line for each pull.'),
  drainTimeout: duration({ max: '1h' })
    .prefault('2m')
    .describe('How long, after the signal to stop, running pulls may go on; all calls are served meanwhile.'),
});

export type ImageServiceSettings = z.output<typeof imageServiceSchema>;
