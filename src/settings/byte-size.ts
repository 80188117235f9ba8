import { z } from 'zod';

const units = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;
const expected = 'expected a size such as 500MB, 20GB or 20GiB';

/** A number of bytes in a configuration, such as `20GB` (10⁹) or `20GiB` (2³⁰). Parses to bytes. */
export function byteSize() {
  return z
    .string({ error: expected })
    .regex(/^[1-9][0-9]{0,8}(?:B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$/, { error: expected, abort: true })
    .transform(bytesOf)
    .refine((bytes) => Number.isSafeInteger(bytes), expected)
    .meta({ title: 'size' });
}

function bytesOf(text: string): number {
  const count = Number.parseInt(text, 10);
  return count * units[text.slice(String(count).length) as keyof typeof units];
}

/** As a person would write it: `1.5 GiB`. */
export function printByteSize(bytes: number): string {
  const unit = (['TiB', 'GiB', 'MiB', 'KiB'] as const).find((name) => bytes >= units[name]);
  return unit === undefined ? `${bytes} B` : `${(bytes / units[unit]).toFixed(1)} ${unit}`;
}
