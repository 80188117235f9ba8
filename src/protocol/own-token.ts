/**
 * True for texts in the form of what this proxy gives out itself (`drp_…`), also in part or with blanks before it: a
 * token that was pasted badly is still most of a token. They are nobody else's to see.
 */
export function isOwnToken(text: string): boolean {
  return text.trimStart().startsWith('drp_');
}
