export { assertError, assertErrorBody } from './assert-error.js';
export { type Answer, basic, bearer, type ClientRequest, send } from './client.js';
export { type Front, type FrontOptions, type LogLine, overwrite, startFront } from './front.js';
export { htpasswd, passwords, type User } from './house.js';
export {
  type Ask,
  closeUpload,
  locationOf,
  openUpload,
  patchUpload,
  pushBlob,
  pushImage,
  putManifest,
} from './pushing.js';
export { parseMessages, type RawAnswer, type RawMessage, sendRaw } from './raw-client.js';
export { reloadOf, settingsFor, settled, takeOver, until } from './reloading.js';
export { lastFirst, type Scope, sharedScope } from './scope.js';
export { claimsOf, type TokenClaims } from './token-claims.js';
