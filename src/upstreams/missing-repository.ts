import type { RegistryResponse } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { UpstreamCall, UpstreamTools } from './upstream-call.js';
import { RepositoryMissing } from './upstream-errors.js';

/**
 * Sends a write, and once more where its repository was missing and is there now: some registries make none by
 * themselves (Amazon ECR).
 *
 * @param send may be called twice
 * @throws RegistryError NAME_UNKNOWN that says so where nobody makes it; what `createRepository` throws
 */
export async function withRepository(
  tools: UpstreamTools,
  { target: { repository }, signal }: UpstreamCall,
  send: () => Promise<RegistryResponse>,
): Promise<RegistryResponse> {
  try {
    return await send();
  } catch (error) {
    if (repository === undefined || !(error instanceof RepositoryMissing)) throw error;
    if (!(await tools.createRepository(repository, { signal }))) throw unmade(error);
  }
  return send();
}

function unmade({ reason }: RepositoryMissing): RegistryError {
  return new RegistryError('NAME_UNKNOWN', {
    message: 'the repository does not exist at the registry: it must be created there first',
    ...(reason !== undefined && { reason }),
  });
}
