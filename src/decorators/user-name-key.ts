/**
 * What directories take for the same user name, as one text: for counting, never for naming anybody. They ignore case,
 * width, blanks and what does not print (RFC 4518 section 2), some of them accents, too. Where a verifier tells two such
 * names apart they share a count, which harms nobody.
 */
export function userNameKey(username: string): string {
  return (
    username
      .normalize('NFKD')
      // By way of upper case: ß and ſ are in lower case already, and are still ss and s to a directory.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .normalize('NFKD')
      .replace(/[\s\u0085]/gu, ' ')
      .replace(/[\p{Cc}\p{Cf}\p{M}\p{Default_Ignorable_Code_Point}\ufffc]/gu, '')
      .replace(/ +/g, ' ')
      .trim()
  );
}
