import type { StateEntry } from '../contracts/index.js';
import { type Binding, bindingsPrefix, parseBinding, proofsPrefix } from '../verifiers/machine/first-use.js';
import { order, time } from './listed.js';
import { printable, textTable } from './text-table.js';

/** Something that a verifier has bound to who showed it first. */
export interface ListedBinding extends Binding {
  readonly verifier: string;
  /** `123456789012/i-0123456789abcdef0`, or `proof/DIGEST`. */
  readonly subject: string;
  /** Milliseconds since the epoch: when it is bound no more, unless it is shown before. */
  readonly endsAt?: number;
}

/** A record of which nothing can be made. */
export interface DamagedBinding {
  readonly key: string;
}

export function readBinding({ key, value, expiresAt }: StateEntry): ListedBinding | DamagedBinding {
  const binding = parseBinding(value);
  const [verifier = '', ...subject] = key.slice(bindingsPrefix.length).split('/');
  if (binding === undefined || !hasDate(binding.since)) return { key };
  const ends = expiresAt === undefined || !hasDate(expiresAt) ? {} : { endsAt: expiresAt };
  return { verifier, subject: subject.join('/'), ...binding, ...ends };
}

/** By verifier: in the order of keys `aws-b` is before `aws`. */
export function inOrder(bindings: readonly ListedBinding[]): readonly ListedBinding[] {
  return [...bindings].sort((a, b) => order(a.verifier, b.verifier) || order(a.subject, b.subject));
}

export const isProof = ({ subject }: ListedBinding) => subject.startsWith(proofsPrefix);
const hasDate = (milliseconds: number) => !Number.isNaN(new Date(milliseconds).getTime());

/** A line for whoever freed it. */
export function forgotten(binding: ListedBinding | DamagedBinding): string {
  if ('key' in binding) return `${printable(binding.key)} is forgotten; its record could not be read.`;
  const { subject, verifier, since } = binding;
  return (
    `${printable(subject)} is free: ${verifier} had bound it to ${holderOf(binding)} since ${time(since)}. ` +
    'Whoever shows it next is bound to it.'
  );
}

/** A nonce is told by no more than that it is one: its digest says nothing to anybody. */
function holderOf({ holder: { kind, value } }: Binding): string {
  return kind === 'nonce' ? 'a nonce' : printable(value);
}

export function table(bindings: readonly ListedBinding[]): string {
  return textTable([
    ['VERIFIER', 'SUBJECT', 'BOUND TO', 'SINCE', 'ENDS'],
    ...bindings.map((binding) => [
      printable(binding.verifier),
      printable(binding.subject),
      holderOf(binding),
      time(binding.since),
      binding.endsAt === undefined ? 'never' : time(binding.endsAt),
    ]),
  ]);
}

export function json(bindings: readonly ListedBinding[]): string {
  const rows = bindings.map(({ verifier, subject, holder, since, endsAt }) => ({
    ...{ verifier, subject, boundTo: holder.kind },
    ...(holder.kind === 'address' && { address: holder.value }),
    since: time(since),
    ...(endsAt !== undefined && { ends: time(endsAt) }),
  }));
  return JSON.stringify(rows, undefined, 2);
}
