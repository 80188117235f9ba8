/** What Go and OCI call the processors a tiny program can be made for. */
export const architectures = ['amd64', 'arm64'] as const;
export type Architecture = (typeof architectures)[number];

const loadAddress = 0x400000;
const headerSize = 64 + 56;
/** Pages of arm64 kernels are up to 64 KiB. */
const alignment = 0x10000;

/** A static Linux program that writes `message` to its standard output and exits with 0. */
export function tinyElf(architecture: Architecture, message: string): Buffer {
  const text = Buffer.from(message, 'utf8');
  if (text.length >= 0x10000) throw new Error('the message is too long');
  const code = architecture === 'amd64' ? amd64Code(text.length) : arm64Code(text.length);
  const size = headerSize + code.length + text.length;
  return Buffer.concat([elfHeader(architecture), programHeader(size), code, text]);
}

/** ELF-64, "ELF Header"; System V ABI of the processor for `e_machine`. */
function elfHeader(architecture: Architecture): Buffer {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // magic, 64 bit, little endian, version
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(architecture === 'amd64' ? 62 : 183, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headerSize), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  return header;
}

/** ELF-64, "Program Header Table": the whole file, readable and executable. */
function programHeader(size: number): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(1, 0); // load
  header.writeUInt32LE(5, 4); // read, execute
  header.writeBigUInt64LE(0n, 8);
  header.writeBigUInt64LE(BigInt(loadAddress), 16);
  header.writeBigUInt64LE(BigInt(loadAddress), 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeBigUInt64LE(BigInt(size), 40);
  header.writeBigUInt64LE(BigInt(alignment), 48);
  return header;
}

/** write(1, text, length); exit(0). The text follows the code. */
function amd64Code(length: number): Buffer {
  const address = loadAddress + headerSize + 31;
  return Buffer.from([
    ...[0xb8, ...le32(1)], // mov eax, 1
    ...[0xbf, ...le32(1)], // mov edi, 1
    ...[0xbe, ...le32(address)], // mov esi, text
    ...[0xba, ...le32(length)], // mov edx, length
    ...[0x0f, 0x05], // syscall
    ...[0xb8, ...le32(60)], // mov eax, 60
    ...[0x31, 0xff], // xor edi, edi
    ...[0x0f, 0x05], // syscall
  ]);
}

function arm64Code(length: number): Buffer {
  return Buffer.from([
    ...le32(0xd2800020), // mov x0, #1
    ...le32(0x100000e1), // adr x1, +28: the text, seven instructions on
    ...le32(0xd2800002 | (length << 5)), // mov x2, #length
    ...le32(0xd2800808), // mov x8, #64
    ...le32(0xd4000001), // svc #0
    ...le32(0xd2800000), // mov x0, #0
    ...le32(0xd2800ba8), // mov x8, #93
    ...le32(0xd4000001), // svc #0
  ]);
}

function le32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}
