/** RFC 3986, as signatures of AWS want it: nothing but letters, digits and `-_.~` stays. */
export function uriComponent(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
