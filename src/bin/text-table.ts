/** Columns of text under each other, two spaces apart; each row ends with a line break. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = columnWidths(rows);
  return rows
    .map((row) => {
      const line = row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ');
      return `${line.trimEnd()}\n`;
    })
    .join('');
}

/** Characters that the widest cell of each column has. */
export function columnWidths(rows: readonly (readonly string[])[]): readonly number[] {
  return rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
}

/** Names come from directories and servers that others keep: no escape sequence of theirs reaches a terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}
