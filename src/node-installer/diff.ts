const context = 3;

interface Line {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/**
 * @param before undefined: the file is not there
 * @param after undefined: the file is to go
 * @returns a unified diff of two texts, with three lines of context; empty where they are the same
 */
export function unifiedDiff(path: string, before: string | undefined, after: string | undefined): string {
  if (before === after) return '';
  const head = [
    `--- ${before === undefined ? '/dev/null' : path}`,
    `+++ ${after === undefined ? '/dev/null' : path}`,
  ];
  const lines = compare(linesOf(before ?? ''), linesOf(after ?? ''));
  return [...head, ...hunks(lines), ''].join('\n');
}

/** Each with its line break, so that a missing last one shows. */
function linesOf(text: string): readonly string[] {
  return text.match(/.*\n|.+$/g) ?? [];
}

/** By the longest common subsequence; units are short. */
function compare(before: readonly string[], after: readonly string[]): readonly Line[] {
  const lengths = before.map(() => new Array<number>(after.length + 1).fill(0));
  lengths.push(new Array<number>(after.length + 1).fill(0));
  const at = (i: number, j: number) => lengths[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const row = lengths[i];
      if (row) row[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    const [old, fresh] = [before[i], after[j]];
    if (old !== undefined && old === fresh) {
      lines.push({ mark: ' ', text: old });
      i++;
      j++;
    } else if (fresh === undefined || (old !== undefined && at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ mark: '-', text: old ?? '' });
      i++;
    } else {
      lines.push({ mark: '+', text: fresh });
      j++;
    }
  }
  return lines;
}

function hunks(lines: readonly Line[]): readonly string[] {
  const isNear = lines.map((_, at) =>
    lines.slice(Math.max(0, at - context), at + context + 1).some(({ mark }) => mark !== ' '),
  );
  const printed: string[] = [];
  for (let from = 0; from < lines.length; from++) {
    if (!isNear[from]) continue;
    let end = from;
    while (isNear[end]) end++;
    printed.push(...hunk(lines, from, end));
    from = end;
  }
  return printed;
}

function hunk(lines: readonly Line[], from: number, end: number): readonly string[] {
  const inside = lines.slice(from, end);
  const count = (of: readonly Line[], mark: '-' | '+') => of.filter((line) => line.mark !== mark).length;
  const range = (skipped: '-' | '+') => {
    const size = count(inside, skipped);
    const first = count(lines.slice(0, from), skipped) + (size === 0 ? 0 : 1);
    return `${first},${size}`;
  };
  const header = `@@ -${range('+')} +${range('-')} @@`;
  return [
    header,
    ...inside.flatMap(({ mark, text }) =>
      text.endsWith('\n')
        ? [`${mark}${text.slice(0, -1)}`]
        : [`${mark}${text}`, '\\ No newline at end of file'],
    ),
  ];
}
