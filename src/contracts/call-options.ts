/** Passed to every call of a contract. */
export interface CallOptions {
  /** Aborted when nobody waits for the answer any more; the call then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/** Everything that is opened is closed, so that a reload leaks no pool, timer or watcher. */
export interface Closable {
  /** Ends timers, watchers and pools. Calls in progress may fail. Never rejects; a second call does nothing. */
  close(): Promise<void>;
}
