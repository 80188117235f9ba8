import type { DriverKind } from '../contracts/driver.js';
import { builtInDrivers } from '../plugins/built-in.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { coreJsonSchema, driverSettings, type JsonSchema } from './json-schema.js';

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
    text: 'An entry of `upstreams`: a registry behind this proxy. Keys beside `type`, `module` and `credentials` are:',
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
  { kind: 'state-store', title: 'State', text: 'Keys of `state` beside `type` and `module` are:' },
];

/** The reference of all settings as Markdown, `docs/configuration.md`. Loads every driver. */
export async function referenceDocument(drivers: DriverMap = builtInDrivers): Promise<string> {
  const parts = [introduction, '## The program\n', table(settingRows(coreJsonSchema()))];
  for (const { kind, title, text } of sections) {
    parts.push(`## ${title}\n`, `${text}\n`);
    for (const { type, isDefault, schema } of await driverSettings(kind, drivers)) {
      parts.push(`### \`type: ${type}\`${isDefault ? ' (default)' : ''}\n`);
      const rows = settingRows(schema);
      parts.push(rows.length === 0 ? 'No settings of its own.\n' : table(rows));
    }
  }
  return parts.join('\n');
}

const required = '**required**';

interface SettingRow {
  readonly key: string;
  readonly type: string;
  readonly fallback: string;
  readonly meaning: string;
}

function table(rows: readonly SettingRow[]): string {
  const lines = rows.map(({ key, type, fallback, meaning }) =>
    [`\`${key}\``, type, fallback, meaning].map((cell) => cell.replaceAll('|', '\\|')).join(' | '),
  );
  return `${['key | type | default | meaning', '--- | --- | --- | ---', ...lines]
    .map((line) => `| ${line} |`)
    .join('\n')}\n`;
}

/** One row a key, the keys of inner mappings after it; keys of several alternatives once. */
function settingRows(schema: JsonSchema): readonly SettingRow[] {
  const rows = new Map<string, SettingRow>();
  for (const row of innerRows(schema, '')) {
    const known = rows.get(row.key);
    if (known === undefined) rows.set(row.key, row);
    else if (known.type !== row.type) rows.set(row.key, { ...known, type: `${known.type} or ${row.type}` });
  }
  return [...rows.values()];
}

function innerRows(schema: JsonSchema, at: string): readonly SettingRow[] {
  if (schema.title === 'secret') return [];
  const rows = Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => {
    const path = at === '' ? key : `${at}.${key}`;
    return [rowOf(path, inner, schema.required?.includes(key) ?? false), ...innerRows(inner, path)];
  });
  if (schema.items) rows.push(...innerRows(schema.items, `${at}[]`));
  if (typeof schema.additionalProperties === 'object') {
    rows.push(...innerRows(schema.additionalProperties, at === '' ? 'NAME' : `${at}.NAME`));
  }
  rows.push(...alternativeRows(schema.anyOf ?? schema.oneOf ?? [], at));
  return rows;
}

/**
 * A key that only one of several mappings requires is a choice, not a duty; what is required further inside is so where
 * that one was chosen. A list that is also a key of a mapping is told once.
 */
function alternativeRows(branches: readonly JsonSchema[], at: string): readonly SettingRow[] {
  const mappings = branches.filter((branch) => branch.properties !== undefined);
  const outer = new Set(
    mappings.flatMap(({ properties = {} }) =>
      Object.keys(properties).map((key) => `${at}${at && '.'}${key}`),
    ),
  );
  const all = branches
    .filter((branch) => branch.items === undefined || !mappings.some((other) => hasList(other, branch)))
    .flatMap((branch) => innerRows(branch, at));
  return all.map((row) =>
    row.fallback === required &&
    outer.has(row.key) &&
    all.filter(({ key }) => key === row.key).length < mappings.length
      ? { ...row, fallback: '**either**' }
      : row,
  );
}

function hasList({ properties = {} }: JsonSchema, { items }: JsonSchema): boolean {
  const text = JSON.stringify(items);
  return Object.values(properties).some((inner) => inner.items && JSON.stringify(inner.items) === text);
}

function rowOf(key: string, schema: JsonSchema, isRequired: boolean): SettingRow {
  const fallback =
    isEmptyMapping(schema.default) || schema.default === undefined
      ? ''
      : `\`${JSON.stringify(schema.default)}\``;
  return {
    key,
    type: typeText(schema),
    fallback: isRequired ? required : fallback,
    meaning: sentence(schema.description ?? ''),
  };
}

const isEmptyMapping = (value: unknown) => JSON.stringify(value) === '{}';

/** Drivers' descriptions end with a full stop or not. */
const sentence = (text: string) => (text === '' || /[.!?]$/.test(text) ? text : `${text}.`);

const plainTypes: Readonly<Record<string, string>> = {
  string: 'string',
  boolean: 'true or false',
  number: 'number',
  integer: 'whole number',
  array: 'list',
  object: 'mapping',
};

function typeText(schema: JsonSchema): string {
  if (schema.title !== undefined) return schema.title;
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches) return [...new Set(branches.map(typeText))].join(' or ');
  if (Array.isArray(schema.type)) return schema.type.map((type) => plainTypes[type] ?? type).join(' or ');
  if (schema.type === 'array' && schema.items) return listText(schema.items);
  const plain = plainTypes[String(schema.type)] ?? 'any';
  return schema.type === 'integer' || schema.type === 'number' ? `${plain}${limits(schema)}` : plain;
}

function listText(items: JsonSchema): string {
  const inner = typeText(items);
  return inner === 'any' ? 'list' : `list of ${items.type === 'object' ? 'mappings' : inner}`;
}

function limits({ minimum, maximum }: JsonSchema): string {
  // zod writes the bounds of safe integers where a schema says nothing.
  const low = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? `from ${minimum}` : '';
  const high = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? `up to ${maximum}` : '';
  const text = [low, high].filter((part) => part !== '').join(' ');
  return text === '' ? '' : `, ${text}`;
}
