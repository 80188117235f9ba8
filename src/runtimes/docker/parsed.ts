import { RuntimeError } from '../../contracts/runtime.js';
import type { EngineAnswer } from './engine-client.js';

/** What an answer in JSON says. @throws RuntimeError `failed` where it is not what was expected */
export function parsed<T>({ text }: EngineAnswer, parse: (json: unknown) => T): T {
  try {
    return parse(JSON.parse(text));
  } catch (error) {
    throw new RuntimeError('failed', 'the Docker Engine gave an answer that cannot be understood', {
      cause: error,
    });
  }
}
