import { z } from 'zod';

const whole = z.number().nonnegative().catch(0);

/** Characters. The engine's own are shorter where they count, and what was said of each id is kept while it pulls. */
const longest = 256;
const word = z.string().max(longest).catch('');

/** One line of the answer to `POST /images/create` (Docker Engine API, "Create an image"; `JSONMessage` of the engine). */
const message = z.object({
  id: word,
  status: word,
  progressDetail: z
    .object({ current: whole, total: whole, units: word })
    .catch({ current: 0, total: 0, units: '' }),
  errorDetail: z
    .object({ code: z.number().optional().catch(undefined), message: z.string().catch('') })
    .optional()
    .catch(undefined),
  error: z.string().optional().catch(undefined),
});

export interface PullMessage {
  /** Of a layer; empty, or a tag, where the line is about the whole. Empty, too, where it is too long to be one. */
  readonly id: string;
  readonly status: string;
  readonly current: number;
  readonly total: number;
  /** Empty: bytes. */
  readonly units: string;
  /** `status` is the one of the registry, where the engine tells. */
  readonly error?: { readonly status?: number; readonly message: string };
}

/** Never throws: what is not as expected is left out, and an error never is. */
export function parsePullMessage(line: Readonly<Record<string, unknown>>): PullMessage {
  const { id, status, progressDetail, errorDetail, error } = message.parse(line);
  const failed = 'error' in line || 'errorDetail' in line;
  const said = errorDetail?.message || error || 'the Docker Engine names no reason';
  return {
    id,
    status,
    ...progressDetail,
    ...(failed && {
      error: { message: said, ...(errorDetail?.code !== undefined && { status: errorDetail.code }) },
    }),
  };
}
