/** @returns a word of a command in a unit: systemd expands nothing in it (systemd.service(5), COMMAND LINES) */
export function unitWord(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  if (/^[\w%$./:=@,+-]+$/.test(escaped)) return escaped;
  return `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', s: ' ', r: '\r' };

/**
 * Splits as systemd does (systemd.syntax(7), QUOTING): quotes may begin and end within a word.
 *
 * @returns undefined where a quote is not closed, or a backslash is the last character
 */
export function splitWords(text: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') {
      if (++at === text.length) return undefined;
      word = `${word ?? ''}${unescaped(text.charAt(at))}`;
    } else if (quote !== undefined) {
      if (character === quote) quote = undefined;
      else word = `${word ?? ''}${character}`;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = `${word ?? ''}${character}`;
    }
  }
  if (quote !== undefined) return undefined;
  return word === undefined ? words : [...words, word];
}

function unescaped(character: string): string {
  if ('"\'\\'.includes(character)) return character;
  return escapes[character] ?? `\\${character}`;
}

/** The words of a command with its variables, as kubelet gets them (systemd.service(5), COMMAND LINES). */
export function expandWords(
  words: readonly string[],
  environment: ReadonlyMap<string, string>,
): readonly string[] {
  return words.flatMap((word) => {
    const alone = /^\$(?<name>\w+)$/.exec(word)?.groups?.name;
    if (alone !== undefined) return splitWords(environment.get(alone) ?? '') ?? [];
    return word.replace(/\$\$|\$\{(?<name>\w+)\}/g, (match, name: string | undefined) =>
      match === '$$' ? '$' : (environment.get(name ?? '') ?? ''),
    );
  });
}
