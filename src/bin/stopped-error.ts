/** Nothing is begun any more: the program was asked to stop. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError';

  constructor() {
    super('the program stops');
  }
}
