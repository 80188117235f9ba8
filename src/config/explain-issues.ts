import { z } from 'zod';
import { didYouMean } from '../plugins/suggest.js';
import type { Finding, SettingPath } from './problem.js';

/** More keys of a mapping are not looked up among other drivers. */
const maxKeys = 32;

type Issue = z.core.$ZodIssue;
type Schema = Parameters<typeof z.toJSONSchema>[0] & z.ZodType;

const names: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
};

/** Parses with messages of this program's style; a schema's own messages take precedence. */
export async function parseSettings<T>(
  schema: z.ZodType<T>,
  value: unknown,
  options: {
    readonly path: SettingPath;
    /** Keys beside the schema's that are fine here, for "did you mean". */
    readonly otherKeys?: readonly string[];
    /** For a key that is unknown here: the types of drivers that have it. */
    readonly ownersOf?: (key: string) => Promise<readonly string[]>;
  },
): Promise<{ readonly value: T } | { readonly findings: readonly Finding[] }> {
  const parsed = await schema.safeParseAsync(value, { error: wording });
  if (parsed.success) return { value: parsed.data };
  const owners = new Map<string, readonly string[]>();
  for (const key of unknownKeys(parsed.error.issues).slice(0, maxKeys))
    owners.set(key, (await options.ownersOf?.(key)) ?? []);
  const explain = new Explanation(schema as Schema, value, options.path, options.otherKeys ?? [], owners);
  return { findings: parsed.error.issues.flatMap((issue) => explain.findings(issue, [])) };
}

/** The keys at the top that a schema, or a branch of it, does not know. */
function unknownKeys(issues: readonly Issue[]): readonly string[] {
  const keys = issues
    .filter(({ path }) => path.length === 0)
    .flatMap((issue) => {
      if (issue.code === 'unrecognized_keys') return issue.keys;
      return issue.code === 'invalid_union' ? issue.errors.flatMap(unknownKeys) : [];
    });
  return [...new Set(keys)];
}

function wording(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') {
    const expected = names[issue.expected] ?? issue.expected;
    if (issue.input === undefined) return `expected ${expected}`;
    const quote = issue.expected === 'string' && typeof issue.input === 'number' ? ': put it in quotes' : '';
    return `expected ${expected}, not ${nameOf(issue.input)}${quote}`;
  }
  if (issue.code === 'too_small' || issue.code === 'too_big') return boundText(issue);
  if (issue.code === 'invalid_value') {
    const values = issue.values.map((value) => String(value));
    return values.length === 1 ? `expected ${values[0]}` : `expected one of ${values.join(', ')}`;
  }
  return undefined;
}

type BoundIssue = z.core.$ZodRawIssue & { readonly code: 'too_small' | 'too_big' };

function boundText(issue: BoundIssue): string {
  const [bound, words] =
    issue.code === 'too_small'
      ? [issue.minimum, issue.inclusive === false ? 'more than' : 'at least']
      : [issue.maximum, issue.inclusive === false ? 'less than' : 'at most'];
  const one = Number(bound) === 1;
  const units: Readonly<Record<string, string>> = {
    array: one ? ' entry' : ' entries',
    string: one ? ' character' : ' characters',
    object: one ? ' key' : ' keys',
  };
  return `expected ${words} ${String(bound)}${units[issue.origin] ?? ''}`;
}

function nameOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return names[typeof value] ?? typeof value;
}

/** Turns zod's issues of one parse into findings. */
class Explanation {
  readonly #schema: Schema;
  readonly #value: unknown;
  readonly #base: SettingPath;
  readonly #otherKeys: readonly string[];
  readonly #owners: ReadonlyMap<string, readonly string[]>;
  #json: JsonNode | undefined;

  constructor(
    schema: Schema,
    value: unknown,
    base: SettingPath,
    otherKeys: readonly string[],
    owners: ReadonlyMap<string, readonly string[]>,
  ) {
    this.#schema = schema;
    this.#value = value;
    this.#base = base;
    this.#otherKeys = otherKeys;
    this.#owners = owners;
  }

  findings(issue: Issue, within: SettingPath): readonly Finding[] {
    const path: SettingPath = [...within, ...issue.path.map((part) => asKey(part))];
    if (issue.code === 'unrecognized_keys' && isOwnWording(issue)) {
      return issue.keys.map((key) => ({
        path: [...this.#base, ...path, key],
        at: 'key',
        message: this.#unknownKey(key, path),
      }));
    }
    if (issue.code === 'invalid_union') {
      const branch = this.#closestBranch(issue.errors, path);
      if (branch) return branch.flatMap((inner) => this.findings(inner, path));
    }
    if (issue.code === 'invalid_key') {
      const message = tidy(issue.issues[0]?.message ?? 'not a usable key');
      return [{ path: [...this.#base, ...path], at: 'key', message }];
    }
    // What a refinement complains about may well be a default.
    const missing = issue.code !== 'custom' && valueAt(this.#value, path) === undefined;
    const message = issue.code === 'invalid_union' ? unionMessage(issue) : tidy(issue.message);
    return [{ path: [...this.#base, ...path], message: missing ? `is missing; ${message}` : message }];
  }

  /**
   * Of a union's branches the one that was probably meant: with the fewest unknown keys, then the one that got furthest
   * into what is there. None where all are as far off: then the union itself says what it takes.
   */
  #closestBranch(branches: readonly (readonly Issue[])[], path: SettingPath): readonly Issue[] | undefined {
    const depthOf = (issue: Issue) => {
      const inner = issue.path.map((part) => asKey(part));
      if (valueAt(this.#value, [...path, ...inner]) === undefined) return 0;
      return inner.length + (issue.code === 'unrecognized_keys' && isOwnWording(issue) ? 1 : 0);
    };
    const [first, second] = branches
      .filter((branch) => branch.length > 0 && !branch.some(isOfAnotherType))
      .map((branch) => ({
        branch,
        unknown: branch.filter((issue) => issue.code === 'unrecognized_keys').flatMap(({ keys }) => keys)
          .length,
        depth: Math.max(0, ...branch.map(depthOf)),
      }))
      .sort((a, b) => a.unknown - b.unknown || b.depth - a.depth);
    if (first === undefined || first.depth > 0) return first?.branch;
    return first.unknown === 0 && second?.unknown !== 0 ? first.branch : undefined;
  }

  #unknownKey(key: string, path: SettingPath): string {
    this.#json ??= printed(this.#schema);
    const shapes = shapesAt([this.#json], path).map((node) => Object.keys(node.properties ?? {}));
    const here = [...new Set(shapes.flat())];
    if (here.includes(key)) return notBeside(key, shapes, valueAt(this.#value, path));
    const known = [...here, ...(path.length === 0 ? this.#otherKeys : [])];
    const owners = path.length === 0 ? (this.#owners.get(key) ?? []) : [];
    if (owners.length > 0) return `unknown key here; it belongs to \`type: ${owners.join('` or `type: ')}\``;
    const suggestion = didYouMean(key, known);
    if (suggestion !== '' || known.length === 0) return `unknown key${suggestion}`;
    return `unknown key; known: ${known.join(', ')}`;
  }
}

/** A key that another of several shapes has. */
function notBeside(key: string, shapes: readonly (readonly string[])[], value: unknown): string {
  const beside = Object.keys(typeof value === 'object' && value !== null ? value : {});
  const apart = beside.filter(
    (other) =>
      shapes.some((shape) => shape.includes(other)) &&
      !shapes.some((shape) => shape.includes(key) && shape.includes(other)),
  );
  if (apart.length === 0) return 'does not belong to what stands beside it';
  return `cannot stand beside ${apart.map((other) => `'${other}'`).join(' and ')}`;
}

/** The keys that settings of this schema may have at their top. */
export function topKeys(schema: z.ZodType): readonly string[] {
  return shapesAt([printed(schema as Schema)], []).flatMap((node) => Object.keys(node.properties ?? {}));
}

function printed(schema: Schema): JsonNode {
  try {
    return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonNode;
  } catch {
    return {}; // a schema of a module's own zod that this one cannot print: no suggestion, then
  }
}

interface JsonNode {
  readonly properties?: Readonly<Record<string, JsonNode>>;
  readonly items?: JsonNode;
  readonly additionalProperties?: JsonNode | boolean;
  readonly anyOf?: readonly JsonNode[];
  readonly oneOf?: readonly JsonNode[];
  readonly allOf?: readonly JsonNode[];
}

function shapesAt(start: readonly JsonNode[], path: SettingPath): readonly JsonNode[] {
  let nodes = start.flatMap(alternatives);
  for (const part of path) {
    nodes = nodes.flatMap((node) => {
      const rest = typeof node.additionalProperties === 'object' ? node.additionalProperties : undefined;
      const next = typeof part === 'number' ? node.items : (node.properties?.[part] ?? rest);
      return next === undefined ? [] : alternatives(next);
    });
  }
  return nodes;
}

function alternatives(node: JsonNode): readonly JsonNode[] {
  const inner = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
  return [node, ...inner.flatMap(alternatives)];
}

/** False where the schema brought a message of its own, which then counts. */
const isOwnWording = (issue: Issue) => issue.message.startsWith('Unrecognized key');

/** True where a branch is not even for this kind of value: `true` where a mapping stands. */
function isOfAnotherType(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

/** The union's own message, else what its branches would have taken. */
function unionMessage(issue: Issue & { readonly code: 'invalid_union' }): string {
  if (issue.message !== 'Invalid input') return tidy(issue.message);
  const messages = issue.errors
    .flat()
    .map((inner) => (inner.code === 'invalid_union' ? unionMessage(inner) : tidy(inner.message)));
  const wanted = messages.flatMap((message) => /^expected (.*?)(?:, not .*)?$/.exec(message)?.[1] ?? []);
  return wanted.length === 0
    ? 'not a value that is expected here'
    : `expected ${[...new Set(wanted)].join(' or ')}`;
}

/** zod's own wording without its heading: `Too small: expected number to be >=1`. */
function tidy(message: string): string {
  return message.replace(/^(?:Invalid (?:input|option|string|key)|Too (?:small|big)): /, '');
}

const asKey = (part: PropertyKey) => (typeof part === 'number' ? part : String(part));

function valueAt(value: unknown, path: SettingPath): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = Object.hasOwn(at, part) ? (at as Record<string | number, unknown>)[part] : undefined;
  }
  return at;
}
