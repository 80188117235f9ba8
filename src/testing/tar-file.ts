/** POSIX.1-1988 `ustar`: the header of one regular file, owned by root, of the epoch. */
export function tarHeader(name: string, size: number, mode = 0o755): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error('the name is too long for ustar');
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  header.write(name, 0, 'utf8');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12); // up to 8 GiB
  octal(0, 136, 12);
  header.fill(' ', 148, 156);
  header.write('0', 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** What follows a file's bytes: padding to a block, and with `last` the two empty blocks that end an archive. */
export function tarPadding(size: number, last: boolean): Buffer {
  return Buffer.alloc(((512 - (size % 512)) % 512) + (last ? 1024 : 0));
}

/** An archive of one file. */
export function tarOf(name: string, bytes: Uint8Array, mode = 0o755): Buffer {
  return Buffer.concat([tarHeader(name, bytes.length, mode), bytes, tarPadding(bytes.length, true)]);
}
