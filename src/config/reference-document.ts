import type { DriverKind } from '../contracts/driver.js';
import { builtInDrivers } from '../plugins/built-in.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { typeKeyOf } from './driver-sites.js';
import { coreJsonSchema, driverSettings } from './json-schema.js';
import { settingRows, table } from './reference-table.js';

/** The smallest configuration worth having. */
export const exampleConfiguration = `listen: 0.0.0.0:5000
externalUrl: https://docker.example.com
upstreams:
  gcr: { url: https://gcr.io }
routes:
  - { prefix: "", upstream: gcr, rewrite: my-gcp-project/ }
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { names: ["local:*"], repositories: ["**"], actions: [pull] }
token: { keys: { directory: /var/lib/docker-registry-proxy/keys } }
`;

const introduction = `<!-- Written by \`npm run docs\` from the schemas: change those, not this file. -->

# Configuration

One YAML file. It is strict: an unknown key is an error, and all problems are reported together, each with its line and
column. Relative file names count from the directory of the configuration file.

\`\`\`yaml
${exampleConfiguration}\`\`\`

- A **duration** is a number and a unit: \`500ms\`, \`30s\`, \`5m\`, \`12h\`, \`30d\`.
- A **secret** is \`{ file: /run/secrets/name }\` or \`{ env: NAME }\`, never the text itself.
- A setting that is **required** is so where the mapping around it is there at all; settings marked
  **either** belong to alternatives, of which one is required.
- \`docker-registry-proxy schema\` prints a JSON Schema for editors, \`docker-registry-proxy check --config FILE\`
  checks a file.
- A changed file is taken over while the proxy runs. \`listen\`, \`admin\`, \`tls.redirectFrom\`, switching \`tls\` on or
  off, and the code of a \`module\` need a restart.
`;

const sections: readonly { readonly kind: DriverKind; readonly title: string; readonly text: string }[] = [
  {
    kind: 'upstream',
    title: 'Upstreams',
    text: 'An entry of `upstreams`: a registry behind this proxy. Keys beside `type`, `module`, `credentials` and `cache` are:',
  },
  {
    kind: 'credential-source',
    title: 'Credentials for upstreams',
    text: '`credentials` of an upstream: what this proxy shows to it. Keys beside `type` and `module` are:',
  },
  {
    kind: 'verifier',
    title: 'Verifiers',
    text: 'An entry of `verifiers`: who vouches for a client. Keys beside `id`, `type` and `module` are:',
  },
  {
    kind: 'policy',
    title: 'Policy',
    text: 'A list under `policy` is the `rules` themselves. Keys beside `type`, `module` and `tests` are:',
  },
  {
    kind: 'token-issuer',
    title: 'Tokens',
    text: 'Keys of `token` beside `type`, `module`, `services` and `refreshTokens` are:',
  },
  {
    kind: 'blob-store',
    title: 'Caches',
    text: '`cache` of an upstream or a route. Keys beside `store`, `module` and the times of the program’s own are:',
  },
  { kind: 'state-store', title: 'State', text: 'Keys of `state` beside `type` and `module` are:' },
];

/** The reference of all settings as Markdown, `docs/configuration.md`. Loads every driver. */
export async function referenceDocument(drivers: DriverMap = builtInDrivers): Promise<string> {
  const parts = [introduction, '## The program\n', table(settingRows(coreJsonSchema()))];
  for (const { kind, title, text } of sections) {
    parts.push(`## ${title}\n`, `${text}\n`);
    for (const { type, isDefault, schema } of await driverSettings(kind, drivers)) {
      parts.push(`### \`${typeKeyOf(kind)}: ${type}\`${isDefault ? ' (default)' : ''}\n`);
      const rows = settingRows(schema);
      parts.push(rows.length === 0 ? 'No settings of its own.\n' : table(rows));
    }
  }
  return parts.join('\n');
}
