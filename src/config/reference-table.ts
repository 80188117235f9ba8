import type { JsonSchema } from './json-schema.js';

const required = '**required**';

export interface SettingRow {
  readonly key: string;
  readonly type: string;
  readonly fallback: string;
  readonly meaning: string;
}

/** Markdown. */
export function table(rows: readonly SettingRow[]): string {
  const lines = rows.map(({ key, type, fallback, meaning }) =>
    [`\`${key}\``, type, fallback, meaning].map((cell) => cell.replaceAll('|', '\\|')).join(' | '),
  );
  return `${['key | type | default | meaning', '--- | --- | --- | ---', ...lines]
    .map((line) => `| ${line} |`)
    .join('\n')}\n`;
}

/** One row a key, the keys of inner mappings after it; keys of several alternatives once. */
export function settingRows(schema: JsonSchema): readonly SettingRow[] {
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
