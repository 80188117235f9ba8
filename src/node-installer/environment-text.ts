/**
 * The variables of an EnvironmentFile (systemd.exec(5)): later ones win, and nothing is expanded.
 */
export function readEnvironmentFile(text: string): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  const assignment =
    /^[ \t]*(?<name>[A-Za-z_]\w*)[ \t]*=(?<value>(?:"(?:[^"\\]|\\[\s\S])*"|'[^']*'|\\[\s\S]|[^\n\\"'])*)/gm;
  for (const { groups } of text.matchAll(assignment)) {
    if (groups?.name !== undefined) variables.set(groups.name, plainValue(groups.value ?? ''));
  }
  return variables;
}

const piece = /"(?<double>(?:[^"\\]|\\[\s\S])*)"|'(?<single>[^']*)'|(?<bare>(?:\\[\s\S]|[^\\"'])+)/g;

function plainValue(raw: string): string {
  const pieces = [...raw.trim().matchAll(piece)].map(({ groups }) => {
    if (groups?.double !== undefined) return groups.double.replace(/\\(["\\`$\n])/g, unescaped);
    return groups?.single ?? groups?.bare?.replace(/\\([\s\S])/g, unescaped) ?? '';
  });
  return pieces.join('');
}

function unescaped(_match: string, character: string): string {
  return character === '\n' ? '' : character;
}

/** @returns a value that systemd reads back from an EnvironmentFile as it is, with its quotes */
export function environmentValue(value: string): string {
  return `"${value.replace(/["\\`$]/g, '\\$&')}"`;
}
