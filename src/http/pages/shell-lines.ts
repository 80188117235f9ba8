import type { Secret } from '../../secret.js';

/** What clients show as a user name beside a personal access token, which stands for itself. Bounded in length. */
const maxUserName = 128;

/** A line to paste into a shell. */
export interface LoginLines {
  readonly program: 'docker' | 'podman' | 'helm';
  /** Asks for the password, so that no token gets into the history of the shell. */
  readonly asking: string;
  /** All in one; the history has it then. Absent without a token. */
  readonly whole?: string;
}

/**
 * The user name in the lines for somebody. Basic credentials cannot carry a colon in it (RFC 7617 section 2), and no
 * terminal should be given control characters or marks of direction.
 */
export function userNameFor(name: string): string {
  const safe = name.replace(/[:\p{C}\p{Zl}\p{Zp}]/gu, '_');
  const short = [...safe].slice(0, maxUserName).join('').trim();
  return short === '' ? 'token' : short;
}

/** One word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9/][A-Za-z0-9_./@:+-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param host with its port, as clients name it */
export function loginLines(host: string, username: string, token?: Secret): readonly LoginLines[] {
  const to = shellWord(host);
  const as = shellWord(username);
  return (['docker', 'podman', 'helm'] as const).map((program) => {
    const login = program === 'helm' ? 'helm registry login' : `${program} login`;
    const asking = `${login} ${to} -u ${as}`;
    if (token === undefined) return { program, asking };
    return { program, asking, whole: `echo ${shellWord(token.reveal())} | ${asking} --password-stdin` };
  });
}

/** A name that Kubernetes takes for an object: a DNS label (RFC 1123). */
export function pullSecretName(host: string): string {
  const label = host.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return label.slice(0, 63).replace(/^-+|-+$/g, '') || 'registry';
}

export function kubectlLine(host: string, username: string, token: Secret): string {
  return [
    `kubectl create secret docker-registry ${pullSecretName(host)}`,
    `--docker-server=${shellWord(host)}`,
    `--docker-username=${shellWord(username)}`,
    `--docker-password=${shellWord(token.reveal())}`,
  ].join(' \\\n  ');
}

/** A Secret of type `kubernetes.io/dockerconfigjson`. */
export function pullSecretManifest(host: string, username: string, token: Secret): string {
  const auth = Buffer.from(`${username}:${token.reveal()}`).toString('base64');
  const config = { auths: { [host]: { username, password: token.reveal(), auth } } };
  return `apiVersion: v1
kind: Secret
metadata:
  name: "${pullSecretName(host)}"
type: kubernetes.io/dockerconfigjson
data:
  .dockerconfigjson: ${Buffer.from(JSON.stringify(config)).toString('base64')}
`;
}

/** What a Pod's `spec` says to use it. */
export function imagePullSecrets(host: string): string {
  return `imagePullSecrets:\n  - name: "${pullSecretName(host)}"\n`;
}
