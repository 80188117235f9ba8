import type { PageName } from './page-route.js';

/** What the logs say of one page request, filled in as it becomes known. */
export interface PageRecord {
  readonly page: PageName;
  /** `corp:alice`. */
  principal?: string;
  verifier?: string;
  /** Somebody came back from the provider, and was let in. */
  hasSignedIn?: true;
  /** The id of the token that was created or revoked. */
  token?: string;
}
