/** What had not begun was not begun, for nobody waited for it any more. Says nothing about whether it can be had. */
export class NotAwaited extends Error {
  override readonly name = 'NotAwaited';

  constructor() {
    super('nobody waits for it any more');
  }
}
