import { after } from 'node:test';

/** Until when something lives: a test's context, or `sharedScope()`. */
export interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

/**
 * The life of what several tests share. Called where the `describe` is declared: an `after` inside a `before` would
 * run as soon as that ends. The last thing made goes first.
 */
export function sharedScope(): Scope {
  const cleanUps: (() => Promise<void> | void)[] = [];
  after(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  });
  return { after: (cleanUp) => void cleanUps.push(cleanUp) };
}

/** A test's own life, where the last thing made goes first: a test context runs what is to be done afterwards in order. */
export function lastFirst(scope: Scope): Scope {
  const cleanUps: (() => Promise<void> | void)[] = [];
  scope.after(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  });
  return { after: (cleanUp) => void cleanUps.push(cleanUp) };
}
