/** A question that makes no sense; the message is for the user. */
export class QuestionError extends Error {
  override readonly name = 'QuestionError';
}
