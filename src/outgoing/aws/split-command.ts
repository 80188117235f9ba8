/**
 * A command line as words, by the rules of Python's `shlex.split`, by which the AWS CLI reads a `credential_process`:
 * spaces part words, quotes and backslashes join them; nothing else is special, for there is no shell.
 *
 * @returns undefined where a quote is left open, or a backslash ends the line
 */
export function splitCommand(line: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const c = line.charAt(i);
    const next = line.charAt(i + 1);
    if (c === '\\' && quote !== "'") {
      if (next === '') return undefined;
      // Between double quotes it hides itself and the quote only.
      const hides = quote === '' || next === '"' || next === '\\';
      word = (word ?? '') + (hides ? next : c + next);
      i++;
    } else if (quote !== '') {
      if (c === quote) quote = '';
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (quote !== '') return undefined;
  return word === undefined ? words : [...words, word];
}
