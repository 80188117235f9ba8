import type { Driver, DriverKind } from '../contracts/driver.js';

/** The drivers of every kind by type. A driver's module, and what it imports, loads only when it is asked for. */
export type DriverMap = {
  readonly [K in DriverKind]: Readonly<Record<string, () => Promise<{ readonly driver: Driver<K> }>>>;
};
