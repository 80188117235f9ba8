const keyGrammar = /^[\x21-\x7e]{1,512}$/;
const maxValueBytes = 65_536;

/** @throws RangeError where the contract's bounds are broken: a bug of the caller */
export function checkEntry(key: string, value: string): void {
  if (!keyGrammar.test(key)) throw new RangeError('a state key is 1 to 512 printable ASCII characters');
  if (Buffer.byteLength(value) > maxValueBytes) throw new RangeError('a state value is at most 64 KiB');
}
