import type { Configuration } from '../config/configuration.js';
import type { CallOptions, StateStore } from '../contracts/index.js';
import { Opener, type Surroundings } from './opener.js';

/** Milliseconds for a whole command: reading many thousand files takes its time. */
const patience = 120_000;

/**
 * For commands that look into the state beside a running proxy, and without one.
 *
 * @throws OpeningError; what `step` throws: RegistryError UNAVAILABLE where the state cannot be read or written
 */
export async function withState(
  configuration: Configuration,
  surroundings: Surroundings,
  step: (state: StateStore, o: CallOptions) => Promise<void>,
): Promise<void> {
  const opener = new Opener(configuration, surroundings);
  try {
    const { part: state } = await opener.open('state', 'state', configuration.state, { access: 'guest' });
    await step(state, { signal: AbortSignal.timeout(patience) });
  } finally {
    await opener.close();
  }
}
