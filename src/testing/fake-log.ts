import type { Log, LogFields } from '../contracts/log.js';

export interface LoggedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: LogFields;
}

/** Keeps every line, also as text: a test can search it for each secret it used. */
export class FakeLog implements Log {
  readonly entries: LoggedLine[] = [];
  /** JSON, as a real log would print it; errors with their stacks, causes and own properties. */
  readonly lines: string[] = [];

  debug(fields: LogFields, message: string): void {
    this.#add('debug', fields, message);
  }
  info(fields: LogFields, message: string): void {
    this.#add('info', fields, message);
  }
  warn(fields: LogFields, message: string): void {
    this.#add('warn', fields, message);
  }
  error(fields: LogFields, message: string): void {
    this.#add('error', fields, message);
  }

  get text(): string {
    return this.lines.join('\n');
  }

  /** The lines of one level. */
  at(level: LoggedLine['level']): readonly LoggedLine[] {
    return this.entries.filter((entry) => entry.level === level);
  }

  #add(level: LoggedLine['level'], fields: LogFields, message: string): void {
    this.entries.push({ level, fields, message });
    this.lines.push(printable({ level, ...fields, message }));
  }
}

function printable(value: unknown): string {
  const above: { readonly original: object; readonly shown: object }[] = [];
  return JSON.stringify(value, function (this: object, _key, member: unknown) {
    if (typeof member === 'bigint') return String(member);
    if (typeof member !== 'object' || member === null) return member;
    while (above.length > 0 && above.at(-1)?.shown !== this) above.pop();
    if (above.some(({ original }) => original === member)) return '[circular]';
    const shown = plain(member);
    above.push({ original: member, shown });
    return shown;
  });
}

/** What JSON leaves out: an error's message, a map's and a set's members. */
function plain(value: object): object {
  if (value instanceof Error) {
    const { name, message, stack, cause } = value;
    return Object.assign({ name, message, stack, cause }, value);
  }
  if (value instanceof Map) return [...value];
  if (value instanceof Set) return [...value];
  return value;
}
