/** Of distributions (k3s, RKE2), and of older instructions for `--api-audiences`. */
const words: ReadonlySet<string> = new Set(['k3s', 'rke2', 'api']);
/** The name of its service, with the domain of the cluster or without; kOps has it the other way round. */
const host = /^kubernetes(?:\.default(?:\.svc(?:\..+)?)?|\.svc\.default(?:\..+)?)?$/;

/**
 * True for what API servers usually take for an audience of their own: who shows a token for it to the API server is the pod.
 * Each cluster may have others (`--api-audiences` of kube-apiserver), its issuer first of all.
 */
export function isApiServerAudience(audience: string): boolean {
  const plain = audience
    .trim()
    .toLowerCase()
    .replace(/^https?:\/\//, '');
  const [name = ''] = plain.split(/[:/?#]/, 1);
  return words.has(plain) || host.test(name.replace(/\.$/, ''));
}
