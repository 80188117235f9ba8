/**
 * True where an object in a JSON text has a key twice: which of the two counts is up to the reader (RFC 8259 section 4),
 * and what somebody signed or checked may be the other one.
 *
 * @param text that `JSON.parse` takes
 */
export function hasRepeatedKeys(text: string): boolean {
  const objects: (Set<string> | undefined)[] = [];
  for (const [token, string, colon] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}[\]]/g)) {
    if (token === '{') objects.push(new Set());
    else if (token === '[') objects.push(undefined);
    else if (token === '}' || token === ']') objects.pop();
    else if (colon !== undefined && string !== undefined) {
      // `\u0041` and `A` are one key.
      const key = String(JSON.parse(string));
      const keys = objects.at(-1);
      if (keys?.has(key)) return true;
      keys?.add(key);
    }
  }
  return false;
}
