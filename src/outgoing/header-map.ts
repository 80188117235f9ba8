import type { Headers } from '../contracts/index.js';

/** Headers as undici gives them, by their names in lower case; what came several times is one list. */
export function headerMap(headers: Record<string, string | string[] | undefined>): Headers {
  const map = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) map.set(name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value);
  }
  return map;
}
