import { z } from 'zod';
import { addressRange } from '../settings/address-range.js';
import { duration } from '../settings/duration.js';
import { readableFile } from '../settings/file-path.js';
import { serverUrl } from '../settings/http-url.js';
import { listenAddress } from '../settings/listen-address.js';
import { namePattern } from '../settings/name-pattern.js';
import { registryHostName } from '../settings/registry-host-name.js';
import { repositoryPrefix } from '../settings/repository-prefix.js';
import { secretSource } from '../settings/secret-source.js';
import { defaultTypes } from './default-types.js';
import { auditSettings, logSettings } from './log-settings.js';
import { policyTestSchema } from './policy-test-schema.js';
import { storeKeys, typeKeys } from './type-keys.js';

const expectedHeader = 'expected the name of a header, such as x-forwarded-client-cert';
/** Of a name of the operator's own. */
export const nameGrammar = /^[a-z0-9][a-z0-9-]*$/;
const expectedName = 'expected a name of lower-case letters, digits and hyphens, such as my-registry';
/** A name of the operator's own: an upstream's, a verifier's. */
export const ownName = () =>
  z.string({ error: expectedName }).regex(nameGrammar, expectedName).max(64).meta({ title: 'name' });

/** The type is the upstream's to choose where it is not named. */
const credential = z.looseObject(typeKeys());
const maxCredentials = 8;

const cache = z.looseObject({
  ...storeKeys(defaultTypes['blob-store']),
  tagFreshness: duration({ max: '30d' })
    .prefault('0s')
    .describe(
      'So long a tag leads where it led when the upstream was last asked. `0s`: it is asked each time, by a HEAD that counts against no limit. A push through this proxy is seen at once.',
    ),
  contentFreshness: duration({ min: '1m', max: '365d' })
    .prefault('1d')
    .describe(
      'So long what a repository holds is served by its digest without asking the upstream whether it still does.',
    ),
  missFreshness: duration({ max: '5m' })
    .prefault('5s')
    .describe('So long the upstream is not asked again for what it does not have.'),
});

const route = z.strictObject({
  host: registryHostName().optional().describe('Only requests to this host, as clients write it.'),
  prefix: repositoryPrefix().describe(
    'The repositories whose names begin so; the longest prefix that matches wins. Empty: all.',
  ),
  upstream: ownName().describe('The key of an entry in `upstreams`.'),
  rewrite: repositoryPrefix().prefault('').describe("What stands in the prefix's place at the upstream."),
  cache: z
    .union([z.literal(false), cache], {
      error: 'expected false, or a mapping such as { path: …, maxSize: 50GB }',
    })
    .optional()
    .describe("In the place of the upstream's own `cache`; `false`: none."),
  ns: z
    .union([registryHostName().transform((one) => [one]), z.array(registryHostName())], {
      error: 'expected a host such as docker.io, or a list of them',
    })
    .prefault([])
    .describe(
      'The registries this route mirrors for containerd, which sends `?ns=docker.io`. Each of one route only.',
    ),
});

const refreshTokens = z
  .union(
    [
      z.boolean(),
      z
        .strictObject({
          idle: duration({ min: '1m' }).prefault('30d').describe('Life after the last use.'),
          absolute: duration({ min: '1m' }).prefault('90d').describe('Life after the login.'),
        })
        .refine((value) => value.idle <= value.absolute, {
          error: 'expected a time not longer than `absolute`',
          path: ['idle'],
        }),
    ],
    { error: 'expected true, or { idle: 30d, absolute: 90d }' },
  )
  .prefault(false)
  .describe(
    'Lets `docker login` keep a refresh token in place of the password. Off by default: kubelet cannot use a pull secret copied from such a login.',
  );

const tls = z.strictObject({
  certificate: readableFile().describe('The certificate and its chain, as PEM.'),
  key: readableFile().describe('The private key, as PEM.'),
  minVersion: z
    .enum(['TLSv1.2', 'TLSv1.3'], { error: 'expected TLSv1.2 or TLSv1.3' })
    .default('TLSv1.2')
    .describe('The oldest protocol version that is accepted.'),
  clientCertificates: z
    .strictObject({
      ca: readableFile().describe('Who may sign them, as PEM.'),
      required: z.boolean().default(false).describe('Refuses connections without one.'),
    })
    .optional()
    .describe(
      'Accepts client certificates, for verifiers that look at them. One that `ca` did not sign is refused.',
    ),
  redirectFrom: listenAddress()
    .optional()
    .describe('Another address where plain http is answered with a redirect to https, such as 0.0.0.0:80.'),
});

const bound = (fallback: number) =>
  z.int({ error: 'expected a whole number' }).min(1).max(1_000_000).default(fallback);

const limits = z.strictObject({
  requestsPerAddress: bound(512).describe(
    'Requests of one client address under way at the same time, transfers with them. For IPv6 its /64 counts.',
  ),
  requestsPerPrincipal: bound(512).describe('The same of one principal; anonymous clients count by address.'),
  connections: bound(10_000).describe('Open client connections.'),
  connectionsPerAddress: bound(1024).describe('Those of one address. `trustedProxies` have no such bound.'),
  headerTime: duration({ min: '1s', max: '5m' })
    .prefault('20s')
    .describe('For all headers of a request to arrive.'),
  idle: duration({ min: '1s', max: '1h' })
    .prefault('5m')
    .describe('A connection is cut when in the middle of a transfer no byte moves for so long.'),
});

const rememberLogins = z.strictObject({
  accepted: duration({ max: '10m' })
    .prefault('30s')
    .describe('An accepted password or token. So long it is still good after it was changed.'),
  refused: duration({ max: '1m' })
    .prefault('10s')
    .describe('A refused one. So long it is still refused after it became good.'),
});

const signIn = z.strictObject({
  verifier: ownName().describe(
    'The verifier of type `oidc` whose provider people sign in at; its `audiences` must have the `clientId`.',
  ),
  clientId: z
    .string({ error: 'expected a client id' })
    .min(1, 'expected a client id')
    .describe(
      'What the provider knows this proxy as. The redirect URI to register is `externalUrl` with `/sign-in/callback`.',
    ),
  clientSecret: secretSource().optional().describe('Absent: a public client, with PKCE alone.'),
  scopes: z
    .array(z.string().regex(/^[!#-[\]-~]+$/, 'expected a scope such as openid'))
    .prefault(['openid', 'profile', 'email'])
    .describe(
      'What to ask the provider for; `openid` is always with it. With `offline_access`, or where a refresh token comes without it, groups are looked up again while a personal access token lives.',
    ),
  session: duration({ min: '1m', max: '1d' }).prefault('1h').describe('How long a browser stays signed in.'),
  tokens: z
    .strictObject({
      life: duration({ min: '1m' }).prefault('30d').describe('The life that is suggested.'),
      maxLife: duration({ min: '1m' })
        .prefault('90d')
        .describe('The longest life there is, also of tokens that were made before it was shortened.'),
      perPrincipal: z
        .int({ error: 'expected a whole number' })
        .min(1)
        .max(1000)
        .default(20)
        .describe('So many a person may have at the same time.'),
      recheck: duration({ min: '1m' })
        .prefault('1h')
        .describe(
          'How long the groups of a sign-in hold before they are looked up again, where that can be done.',
        ),
    })
    .prefault({})
    .refine(({ life, maxLife }) => life <= maxLife, {
      error: 'expected a time not longer than `maxLife`',
      path: ['life'],
    })
    .describe('Personal access tokens.'),
});

/**
 * The settings of the program itself. Entries that hold a driver are loose here: their other keys are the driver's,
 * and its own schema checks them.
 */
export const coreSchema = z.strictObject({
  listen: listenAddress()
    .prefault('0.0.0.0:5000')
    .describe('Where clients connect. Port 0 takes a free one.'),
  workers: z
    .int({ error: 'expected a whole number' })
    .min(1)
    .max(64)
    .default(1)
    .describe(
      'Processes that serve together on one address, each on a core of its own. What `limits` bounds, each bounds for itself. More than one need `token.keys`.',
    ),
  externalUrl: serverUrl().describe(
    'How clients reach this proxy. The realm of challenges and absolute links are built from it, never from a request.',
  ),
  tls: tls.optional().describe('Serves HTTPS. Without it something in front ends TLS.'),
  admin: z
    .strictObject({
      listen: listenAddress().describe('Keep it from the outside: nobody is asked for credentials here.'),
    })
    .optional()
    .describe('Serves `/metrics`, `/livez` and `/readyz`.'),
  trustedProxies: z
    .array(addressRange(), { error: 'expected a list of addresses or ranges' })
    .default([])
    .describe('Whose `X-Forwarded-For` counts, and whose `clientCertificateHeader`.'),
  clientCertificateHeader: z
    .string({ error: expectedHeader })
    .regex(/^[A-Za-z0-9-]+$/, expectedHeader)
    .transform((text) => text.toLowerCase())
    .optional()
    .describe(
      "The header in which a trusted proxy puts the client's certificate once its own TLS has accepted it. That proxy must remove what a client sends there.",
    ),
  limits: limits.prefault({}).describe('What a client may take. Beyond it: 429 with Retry-After.'),
  upstreams: z
    .record(
      ownName(),
      z.looseObject({
        ...typeKeys(defaultTypes.upstream),
        credentials: z
          .union(
            [credential, z.array(credential).min(1, 'expected at least one credential').max(maxCredentials)],
            {
              error: 'expected a mapping such as { type: static, … }, or a list of them',
            },
          )
          .optional()
          .describe(
            'What this proxy shows to the upstream. Of a list the first that is not refused: a password can be changed without an outage. Without `type`: what the registry of this `url` is known to want, else `anonymous`.',
          ),
        cache: cache
          .optional()
          .describe(
            'Keeps manifests and blobs that were pulled, and serves them again to whoever may pull them. Blobs are then streamed, whatever `blobs` says.',
          ),
      }),
    )
    .default({})
    .describe('The registries behind this proxy, by a name of yours.'),
  routes: z.array(route).default([]).describe('Which repository of which upstream a client means.'),
  catalog: z
    .array(ownName(), { error: 'expected a list of upstreams' })
    .default([])
    .describe(
      'The upstreams whose repositories `/v2/_catalog` lists, to each client those it may pull. Without any it is off.',
    ),
  verifiers: z
    .array(
      z.looseObject({
        id: ownName().describe('Unique. Rules name people and groups as `id:name`.'),
        ...typeKeys(),
        usernames: z
          .array(namePattern(), { error: 'expected a list of user names' })
          .min(1, 'expected at least one user name')
          .optional()
          .describe(
            'Only passwords shown with one of these user names are shown to this verifier, and it is asked before those without such a list. `*` stands for any characters.',
          ),
      }),
      { error: 'expected a list of verifiers' },
    )
    .min(1, 'expected at least one verifier; { id: anyone, type: anonymous } asks nobody for credentials')
    .describe(
      'Who may vouch for a client. Those that recognise their own credentials are asked first, then in order.',
    ),
  mergedVerifiers: z
    .array(ownName(), { error: 'expected a list of verifier ids' })
    .default([])
    .describe(
      'Verifiers whose names and groups rules may write without the id. Whoever controls one of them can then be anybody.',
    ),
  rememberLogins: rememberLogins
    .prefault({})
    .describe('How long the outcome for what a client shows holds without asking a verifier again.'),
  signIn: signIn
    .optional()
    .describe('Lets people sign in by browser, and gives them personal access tokens for `docker login`.'),
  policy: z
    .union(
      [
        z.array(z.unknown()),
        z.looseObject({
          ...typeKeys(defaultTypes.policy),
          tests: z
            .array(policyTestSchema, { error: 'expected a list of tests' })
            .optional()
            .describe(
              'Questions to the policy and what it has to say; `check` tries them, `serve` does not.',
            ),
        }),
      ],
      { error: 'expected a list of rules, { rules: … }, { file: NAME }, or a mapping with a type' },
    )
    .describe('Who may do what. Nothing is allowed that nothing allows.'),
  token: z
    .looseObject({
      ...typeKeys(defaultTypes['token-issuer']),
      services: z
        .array(registryHostName(), { error: 'expected a list of hosts' })
        .prefault([])
        .describe('Other registries, as clients name them, that trust tokens of this proxy.'),
      refreshTokens,
    })
    .prefault({})
    .describe('The tokens that clients get for their credentials.'),
  state: z
    .looseObject(typeKeys(defaultTypes['state-store']))
    .prefault({})
    .describe(
      'Where refresh tokens are kept, and what a verifier remembers. Throttles are in the memory of each process; workers tell each other.',
    ),
  log: logSettings(),
  audit: auditSettings('Writes a JSON line for each pull, push, delete, login and refusal.'),
  drainDelay: duration({ max: '10m' })
    .prefault('0s')
    .describe(
      'How long new requests are still taken after the signal to stop, while `/readyz` fails: the time a load balancer needs to notice.',
    ),
  drainTimeout: duration({ max: '1h' })
    .prefault('30s')
    .describe('How long transfers in progress may go on after the signal to stop.'),
});

export type CoreSettings = z.output<typeof coreSchema>;
export type CacheSettings = z.output<typeof cache>;
export type RouteSettings = z.output<typeof route>;

/** For checking each route on its own, so that one bad route does not hide what is wrong between the others. */
export const routeSchema = route;
