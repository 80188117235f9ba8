import { stringify } from 'yaml';
import { HelperError } from '../one-question/helper-error.js';
import { audiencesOf } from './kubelet-providers.js';
import type { RulesFile } from './rules-file.js';

const name = 'kubelet-image-service-token-audiences';
const group = 'rbac.authorization.k8s.io';

/**
 * What allows kubelets to get tokens of the pods on their node for the audiences of some rules (KEP-4412, "Kubernetes API
 * Server (KAS) Changes"): the verb is for a resource that has the audience's name, in the group of ServiceAccounts.
 *
 * @throws HelperError where there is no audience, or one that a role would take for all
 */
export function printAudienceRole({ rules }: RulesFile): string {
  const audiences = audiencesOf(rules);
  if (audiences.length === 0)
    throw new HelperError('no rule has a podIdentity: kubelets need no more rights');
  const wide = audiences.find((one) => one.split('/', 1)[0] === '*');
  if (wide !== undefined) {
    throw new HelperError(`the audience ${wide} would be every audience in a role; choose another one`, 2);
  }
  const role = {
    apiVersion: `${group}/v1`,
    kind: 'ClusterRole',
    metadata: { name },
    rules: [{ apiGroups: [''], resources: audiences, verbs: ['request-serviceaccounts-token-audience'] }],
  };
  const binding = {
    apiVersion: `${group}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: group, kind: 'ClusterRole', name },
    subjects: [{ apiGroup: group, kind: 'Group', name: 'system:nodes' }],
  };
  return `${notes}${stringify(role)}---\n${stringify(binding)}`;
}

const notes = `# kubelets may get tokens of the pods on their own node for these audiences. With resourceNames: [NAME] beside resources it is
# for ServiceAccounts of these names alone.
`;
