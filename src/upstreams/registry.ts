import { lookup } from 'node:dns/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { type CredentialSource, type DriverDependencies, defineDriver } from '../contracts/index.js';
import { trustWith } from '../outgoing/trust.js';
import { ByteBudget } from '../protocol/byte-budget.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { isRepositoryComponent } from '../reference/repository-name.js';
import { duration } from '../settings/duration.js';
import { readableFile } from '../settings/file-path.js';
import { proxyUrl } from '../settings/proxy-url.js';
import { AuthorizedClient } from './authorized-client.js';
import { Authorizer } from './authorizer.js';
import { MeteredTransport } from './metered-transport.js';
import { presetFor } from './presets/index.js';
import { RefusedCredentials } from './refused-credentials.js';
import { RegistryUpstream } from './registry-upstream.js';
import { registryUrl } from './registry-url.js';
import { ShownUserNames } from './shown-user-names.js';
import { PooledTransport } from './transport.js';
import { upstreamLog } from './upstream-log.js';
import { upstreamMetrics } from './upstream-metrics.js';
import { UpstreamTokens } from './upstream-tokens.js';

const tokenUrl = 'expected an https URL without credentials';
const timeout = () => duration({ min: '1ms', max: '1h' });

const timeouts = z.strictObject({
  connect: timeout().prefault('10s').describe('For a connection with its TLS handshake.'),
  headers: timeout().prefault('60s').describe('From a request until the headers of its answer.'),
  idle: timeout().prefault('60s').describe('Between two pieces of a body.'),
  commit: timeout()
    .prefault('10m')
    .describe('From the end of an upload until its answer: registries hash and copy the whole then.'),
});

const config = z.strictObject({
  url: registryUrl().describe(
    'The registry: `gcr.io`, `registry.example.com:5000`, or a URL; `http://host[:port]` is one without TLS. What is ' +
      'special about Docker Hub (`docker.io`), `gcr.io`, `LOCATION-docker.pkg.dev`, ECR, `NAME.azurecr.io` and others is ' +
      'known by their hosts.',
  ),
  blobs: z
    .enum(['redirect', 'stream'])
    .default('stream')
    .describe(
      "`redirect` hands the storage's signed URL to the client, so that no byte crosses the proxy; `stream` follows it.",
    ),
  realm: z
    .string({ error: tokenUrl })
    .refine(isPlainUrl, tokenUrl)
    .transform((text) => new URL(text))
    .optional()
    .describe(
      "A token endpoint, or its origin, that credentials may be sent to beside the registry's own host: " +
        '`https://auth.example.com`.',
    ),
  defaultNamespace: z
    .string()
    .refine(isRepositoryComponent, 'expected one component of a repository name, such as library')
    .optional()
    .describe('Stands before names of a single component, as `library` does on Docker Hub.'),
  ca: readableFile().optional().describe("PEM certificates to trust beside the system's roots."),
  proxy: proxyUrl()
    .optional()
    .describe('An HTTP(S) proxy to reach the registry, its token endpoint and its storage through.'),
  timeouts: timeouts.prefault({}).describe('How long to wait for the registry.'),
  connections: z
    .int()
    .min(1)
    .max(10_000)
    .default(1024)
    .describe(
      'Connections to one origin at the same time for blobs that are pulled, as many for those that are pushed, and as many for all else; more requests wait.',
    ),
});

type RegistryConfig = z.output<typeof config>;

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'upstream',
  type: 'registry',
  config,
  usualCredentials: ({ url }: RegistryConfig) => presetFor(url).usualCredentials,
  async open(settings: RegistryConfig, dependencies: Dependencies) {
    const file = settings.ca && resolve(dependencies.baseDirectory, settings.ca.text);
    const secureContext = file === undefined ? undefined : await trustWith(file);
    const transport = new PooledTransport({
      timeouts: settings.timeouts,
      connections: settings.connections,
      ...(secureContext && { secureContext }),
      ...(settings.proxy && { proxy: settings.proxy }),
    });
    return assemble(settings, dependencies, transport);
  },
});

type Dependencies = DriverDependencies & { readonly credentials: CredentialSource };

/** Milliseconds: the longest that requests wait for a token together. */
const maxTokenTime = 30_000;

function assemble(settings: RegistryConfig, dependencies: Dependencies, pooled: PooledTransport) {
  const { clock } = dependencies;
  const log = upstreamLog(dependencies.log, dependencies.id);
  const credentials = new ShownUserNames(dependencies.credentials);
  const preset = presetFor(settings.url);
  const upstream = preset.registry ?? new URL(settings.url.origin);
  const registry = parseRegistryHost(preset.credentialHost ?? upstream.host);
  const metrics = upstreamMetrics(dependencies.metrics, dependencies.id);
  const transport = new MeteredTransport(pooled, metrics);
  const timeLimit = Math.min(settings.timeouts.connect + settings.timeouts.headers, maxTokenTime);
  const refused = new RefusedCredentials(clock, (credential) => credentials.accepted(credential));
  const tokens = new UpstreamTokens({ transport, credentials, refused, clock, log, metrics, timeLimit });
  const rules = {
    upstream,
    tokenOrigins: preset.tokenOrigins,
    ...(settings.realm && { configured: settings.realm }),
  };
  const authorizer = new Authorizer({
    transport,
    credentials,
    refused,
    tokens,
    rules,
    registry,
    log,
    metrics,
    timeLimit,
  });
  const defaultNamespace = settings.defaultNamespace ?? preset.defaultNamespace;
  return new RegistryUpstream({
    tools: {
      client: new AuthorizedClient(transport, authorizer, upstream),
      upstream,
      userNames: () => credentials.names,
      createRepository: (name, o) => credentials.createRepository({ registry, name }, o),
      blobs: settings.blobs,
      bodyTime: settings.timeouts.headers + settings.timeouts.idle,
      memory: new ByteBudget('manifests'),
      clock,
      log,
      metrics,
    },
    transport,
    authorizer,
    tokens,
    registry,
    probing: { credentials, rules, ...(settings.proxy === undefined && { resolve: addressesOf }) },
    ...(defaultNamespace !== undefined && { defaultNamespace }),
    ...(preset.deleteActions !== undefined && { deleteActions: preset.deleteActions }),
  });
}

/** As a connection finds them: the system's resolver, with its hosts file. */
async function addressesOf(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.hash === '';
}
