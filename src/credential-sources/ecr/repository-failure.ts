import { RegistryError } from '../../errors.js';
import { awsErrorName, awsFailure } from '../../outgoing/aws/aws-failure.js';

/** Those that are about what we may do, and not about a moment. */
const denied: readonly string[] = [
  'AccessDenied',
  'AccessDeniedException',
  'BlockedByOrganizationPolicyException',
];

/**
 * Why a repository was not created. AWS's own words name accounts and roles: clients get ours.
 *
 * @param service for operators: `ECR in eu-west-1`
 */
export function repositoryFailure(error: unknown, service: string): RegistryError {
  const failure = awsFailure(error, service);
  const reason = failure.reason ?? failure.message;
  const name = awsErrorName(error);
  if (name !== undefined && denied.includes(name)) {
    const message = 'the repository does not exist at the registry, which does not let this proxy create it';
    return new RegistryError('DENIED', { reason, message });
  }
  if (name === 'LimitExceededException') {
    const message = 'the repository does not exist at the registry, whose limit of repositories is reached';
    return new RegistryError('DENIED', {
      reason: `${reason}: ask for a higher quota of repositories`,
      message,
    });
  }
  if (name === 'InvalidParameterException' && /repositoryName/.test((error as Error).message)) {
    return new RegistryError('NAME_INVALID', {
      reason,
      message: 'the registry takes no such repository name',
    });
  }
  return failure;
}
