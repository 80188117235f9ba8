/** A browser somebody signed in with. Times are milliseconds since the epoch. */
export interface Session {
  readonly who: { readonly verifier: string; readonly name: string };
  /** What each form of the session must bring along. */
  readonly csrfToken: string;
  readonly signedInAt: number;
  readonly expiresAt: number;
}
