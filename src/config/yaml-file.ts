import type { Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import { describeError } from '../errors.js';
import { type Finding, type Problem, printPath, type SettingPath } from './problem.js';

/** Bytes of a configuration. */
const usualSize = 1024 * 1024;
/** How many nodes aliases may stand for: more is a bomb, not a configuration. */
const maxAliasCount = 100;

/** A YAML file that could be read: its plain value, and where each part of it stands. */
export interface YamlFile {
  readonly value: unknown;
  /** Line and column of a setting, or of the nearest thing around it that is there. */
  problem(finding: Finding): Problem;
}

/**
 * @param maxSize bytes
 * @param refusal why a file like this one is not to be read at all; looks at the very file that is read
 * @returns what is wrong with the text, where it is no YAML of one document and of reasonable size
 */
export async function readYamlFile(
  file: string,
  maxSize = usualSize,
  refusal: (stats: Stats) => string | undefined = () => undefined,
): Promise<YamlFile | { readonly problems: readonly Problem[] }> {
  const whole = (message: string) => ({ problems: [{ file, line: 0, column: 0, path: '', message }] });
  let text: string;
  try {
    text = await readBounded(file, maxSize, refusal);
  } catch (error) {
    if (error instanceof RefusedFile) return whole(error.message);
    return whole(`cannot be read: ${describeError(error)}`);
  }
  try {
    return parseYaml(file, text);
  } catch (error) {
    // `yaml` throws for an alias bomb, and a stack overflow for brackets nested by the thousand.
    return whole(`cannot be parsed: ${withoutSource(describeError(error))}`);
  }
}

class RefusedFile extends Error {}

async function readBounded(
  file: string,
  maxSize: number,
  refusal: (stats: Stats) => string | undefined,
): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error('not a file');
    const refused = refusal(stats);
    if (refused !== undefined) throw new RefusedFile(refused);
    const buffer = Buffer.alloc(maxSize + 1);
    let size = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, size, buffer.length - size, size);
      size += bytesRead;
      if (size > maxSize) throw new Error(`larger than ${maxSize} bytes`);
      if (bytesRead === 0) break;
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, size));
  } finally {
    await handle.close();
  }
}

function parseYaml(file: string, text: string): YamlFile | { readonly problems: readonly Problem[] } {
  const lines = new LineCounter();
  // Without `prettyErrors`, which quote the line: a secret could stand there.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const problems = [...document.errors, ...document.warnings].map((error) => ({
    file,
    ...place(error.pos[0]),
    path: '',
    message: error.code === 'MULTIPLE_DOCS' ? 'expected one document only' : withoutSource(error.message),
  }));
  problems.push(
    ...refusedNodes(document).map(({ offset, message }) => ({ file, ...place(offset), path: '', message })),
  );
  if (problems.length > 0) return { problems: firstOfEachPlace(problems) };
  if (isEmpty(document)) return { problems: [{ file, ...place(0), path: '', message: 'the file is empty' }] };
  return {
    value: document.toJS({ maxAliasCount }) as unknown,
    problem: (finding) => ({
      file,
      ...place(offsetOf(document, finding.path, finding.at ?? 'value')),
      path: printPath(finding.path),
      message: finding.message,
    }),
  };
}

/** Of a bracket that is missing the parser complains once for each that stands open. */
function firstOfEachPlace(problems: readonly Problem[]): readonly Problem[] {
  const isSamePlace = (a: Problem, b: Problem) => a.line === b.line && a.column === b.column;
  return problems.filter((one, i) => problems.findIndex((other) => isSamePlace(one, other)) === i);
}

/** Also where there are comments only. */
function isEmpty({ contents }: Document.Parsed): boolean {
  return contents === null || (isScalar(contents) && contents.value === null && !contents.source);
}

/** The parser's messages may end with the text they complain about. */
const withoutSource = (message: string) => message.replace(/: .*$/s, '').replace(/\n.*$/s, '');

/** Keys that would not survive becoming a plain object's, and aliases of nothing. */
function refusedNodes(document: Document.Parsed): { offset: number; message: string }[] {
  const refused: { offset: number; message: string }[] = [];
  const anchors = new Set<string>();
  visit(document, {
    Pair(_, pair) {
      const { key } = pair;
      if (isScalar(key) && key.value !== null && key.value !== '__proto__') return;
      refused.push({ offset: startOf(key) ?? startOf(pair.value) ?? 0, message: 'not a usable key' });
    },
    Node(_, node) {
      if (isAlias(node)) {
        if (anchors.has(node.source)) return;
        const message = 'an alias of no anchor above; a text that begins with * needs quotes';
        refused.push({ offset: startOf(node) ?? 0, message });
      } else if (node.anchor !== undefined) anchors.add(node.anchor);
    },
  });
  return refused;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0];
}

/**
 * The offset of the setting's key or value. Where it is missing, that of the nearest parent: its key if it has one,
 * for that is where a reader looks for what is missing.
 */
function offsetOf(document: Document.Parsed, path: SettingPath, at: 'key' | 'value'): number {
  let node: unknown = document.contents;
  let key: number | undefined;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    const child = childOf(node, part);
    if (child === undefined) return key ?? startOf(node) ?? 0;
    key = child.key;
    node = child.value;
  }
  return at === 'key' ? (key ?? startOf(node) ?? 0) : (startOf(node) ?? key ?? 0);
}

function childOf(
  node: unknown,
  part: string | number,
): { readonly key: number | undefined; readonly value: unknown } | undefined {
  if (isSeq(node)) {
    const value = typeof part === 'number' ? node.items[part] : undefined;
    return value === undefined ? undefined : { key: undefined, value };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
  return pair && { key: startOf(pair.key), value: pair.value };
}
