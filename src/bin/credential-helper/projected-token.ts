import { stat } from 'node:fs/promises';
import { defaultTokenFile } from '../../credential-sources/kubernetes-token.js';

/** Whether a pod has a ServiceAccount token where the `kubernetes-token` source looks for one by itself. */
export async function hasProjectedToken(): Promise<boolean> {
  return stat(defaultTokenFile).then(
    (found) => found.isFile(),
    () => false,
  );
}
