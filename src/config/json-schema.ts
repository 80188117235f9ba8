import { z } from 'zod';
import { type Driver, type DriverKind, driverApiVersion } from '../contracts/driver.js';
import { builtInDrivers } from '../plugins/built-in.js';
import type { DriverMap } from '../plugins/driver-map.js';
import { loadDriver } from '../plugins/load-driver.js';
import { printDuration } from '../settings/duration.js';
import { coreSchema } from './core-schema.js';
import { defaultTypes } from './default-types.js';

/** The parts of JSON Schema (draft 2020-12) that this program writes. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** What one driver's own settings look like. */
export interface DriverSettings {
  readonly type: string;
  /** True where it is taken if no type is named. */
  readonly isDefault: boolean;
  readonly schema: JsonSchema;
}

/** The own settings of every driver of a kind. Loads them all. */
export async function driverSettings(
  kind: DriverKind,
  drivers: DriverMap = builtInDrivers,
): Promise<readonly DriverSettings[]> {
  const types = Object.keys(drivers[kind]).sort();
  return await Promise.all(
    types.map(async (type) => {
      const driver: Driver = await loadDriver(kind, { type }, drivers);
      const { $schema: _, ...schema } = printSchema(driver.config);
      return { type, isDefault: defaultTypeOf(kind) === type, schema };
    }),
  );
}

function defaultTypeOf(kind: DriverKind): string | undefined {
  return kind === 'verifier' || kind === 'runtime' ? undefined : defaultTypes[kind];
}

/** The program's own settings; entries that hold a driver allow any further keys here. */
export function coreJsonSchema(): JsonSchema {
  return printSchema(coreSchema);
}

/** A JSON Schema of the whole configuration file for editors, with the settings of every driver. */
export async function configurationJsonSchema(drivers: DriverMap = builtInDrivers): Promise<JsonSchema> {
  const core = coreJsonSchema();
  const at = (key: string): JsonSchema => core.properties?.[key] ?? {};
  const entry = async (kind: DriverKind, place: JsonSchema) =>
    entrySchema(place, await driverSettings(kind, drivers));

  const upstream = restOf(at('upstreams'));
  const credentials = await credentialsSchema(upstream.properties?.credentials ?? {}, drivers);
  const caches = await driverSettings('blob-store', drivers);
  const cache = entrySchema(upstream.properties?.cache ?? {}, caches, 'store');
  const withCredentials = { ...upstream, properties: { ...upstream.properties, credentials, cache } };
  const route = at('routes').items ?? {};
  const none = { const: false };
  const routeCache = {
    ...descriptionOf(route.properties?.cache ?? {}),
    anyOf: [none, ...(cache.anyOf ?? [])],
  };
  const token = await entry('token-issuer', at('token'));
  const state = await entry('state-store', at('state'));
  return {
    ...core,
    required: [...(core.required ?? []), ...requiredForDefaults({ token, state })],
    title: `docker-registry-proxy configuration (drivers' API version ${driverApiVersion})`,
    properties: {
      ...core.properties,
      routes: {
        ...at('routes'),
        items: { ...route, properties: { ...route.properties, cache: routeCache } },
      },
      upstreams: { ...at('upstreams'), additionalProperties: await entry('upstream', withCredentials) },
      verifiers: { ...at('verifiers'), items: await entry('verifier', at('verifiers').items ?? {}) },
      policy: await policySchema(at('policy'), drivers),
      token,
      state,
    },
  };
}

/** One, or a list of them. A type that is not named is the upstream's to choose, so it is nowhere required. */
async function credentialsSchema(place: JsonSchema, drivers: DriverMap): Promise<JsonSchema> {
  const mapping = place.anyOf?.find((branch) => branch.type === 'object') ?? {};
  const settings = await driverSettings('credential-source', drivers);
  const one = entrySchema(
    mapping,
    settings.map((driver) => ({ ...driver, isDefault: true })),
  );
  const list = { type: 'array', minItems: 1, items: one };
  return { ...descriptionOf(place), anyOf: [...(one.anyOf ?? []), list] };
}

function restOf(schema: JsonSchema): JsonSchema {
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {};
}

/** A list is the rules themselves; a mapping says more about them, or names another driver. */
async function policySchema(place: JsonSchema, drivers: DriverMap): Promise<JsonSchema> {
  const settings = await driverSettings('policy', drivers);
  const mapping = place.anyOf?.find((branch) => branch.type === 'object') ?? {};
  const shapes = settings.flatMap((driver) =>
    objectBranches(driver.schema).map((schema) => ({ ...driver, schema })),
  );
  const lists = shapes.filter(({ schema }) => schema.type === 'array').map(({ schema }) => schema);
  const others = shapes.filter(({ schema }) => schema.type !== 'array');
  return { ...descriptionOf(place), anyOf: [...lists, ...(entrySchema(mapping, others).anyOf ?? [])] };
}

/**
 * An entry that chooses a driver: one branch a driver, which refuses the keys of all others, and one for a module of which
 * nothing is known.
 */
export function entrySchema(
  place: JsonSchema,
  settings: readonly DriverSettings[],
  key: 'type' | 'store' = 'type',
): JsonSchema {
  const { [key]: typeKey, module, ...own } = place.properties ?? {};
  const typeText = typeKey?.description;
  const required = (place.required ?? []).filter((name) => name !== key && name !== 'module');
  const branches = settings.flatMap((driver) =>
    objectBranches(driver.schema).map(
      (branch): JsonSchema => ({
        title: driver.type,
        type: 'object',
        properties: {
          [key]: { ...(typeText !== undefined && { description: typeText }), const: driver.type },
          ...own,
          ...branch.properties,
        },
        required: [...(driver.isDefault ? [] : [key]), ...required, ...(branch.required ?? [])],
        additionalProperties: branch.additionalProperties ?? false,
      }),
    ),
  );
  const foreign: JsonSchema = {
    title: 'module',
    type: 'object',
    properties: { ...(typeKey && { [key]: typeKey }), ...own, ...(module && { module }) },
    required: ['module', ...required],
    additionalProperties: true,
  };
  return { ...descriptionOf(place), anyOf: [...branches, foreign] };
}

/** Keys that cannot be left out because the driver that is then taken has settings of its own that cannot. */
function requiredForDefaults(properties: Readonly<Record<string, JsonSchema>>): readonly string[] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    const branches = schema.anyOf?.filter((branch) => branch.title !== 'module') ?? [];
    return branches.some((branch) => (branch.required ?? []).length === 0) ? [] : [key];
  });
}

/** A driver whose settings are a union has one branch for each of its shapes. */
function objectBranches(schema: JsonSchema): readonly JsonSchema[] {
  const alternatives = schema.anyOf ?? schema.oneOf;
  return alternatives === undefined ? [schema] : alternatives.flatMap(objectBranches);
}

function descriptionOf({ description }: JsonSchema): JsonSchema {
  return description === undefined ? {} : { description };
}

/** What is put in, before defaults and transformations. */
export function printSchema(schema: z.ZodType): JsonSchema {
  const printed = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const { def } = zodSchema._zod;
      // A default stands behind the transformation, in milliseconds, so zod leaves it out of what is put in.
      if (def.type === 'default' && jsonSchema.title === 'duration' && typeof def.defaultValue === 'number') {
        jsonSchema.default = printDuration(def.defaultValue);
      }
    },
  });
  return printed as JsonSchema;
}
