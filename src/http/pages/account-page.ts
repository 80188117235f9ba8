import type { IssuedPersonalToken, PersonalAccessToken } from '../../sign-in/personal-access-token.js';
import { type Html, html } from './html.js';
import { copyLine, page, type SignedIn } from './layout.js';
import { type LifeChoice, printLife } from './lives.js';
import { imagePullSecrets, kubectlLine, loginLines, pullSecretManifest, userNameFor } from './shell-lines.js';
import { createForm, time, tokenList } from './token-list.js';

export interface AccountView {
  readonly host: string;
  /** The other hosts that the same tokens are good for. */
  readonly otherHosts: readonly string[];
  readonly signedIn: SignedIn;
  readonly tokens: readonly PersonalAccessToken[];
  readonly choices: readonly LifeChoice[];
  /** Shown this once. */
  readonly issued?: IssuedPersonalToken;
  /** What was done. */
  readonly notice?: string;
}

const titles = { docker: 'Docker', podman: 'Podman', helm: 'Helm' } as const;

/** What somebody sees who has signed in: their tokens, and the one that was just made. */
export function accountPage(view: AccountView): Buffer {
  const { host, issued, notice, signedIn, tokens, choices } = view;
  const title = issued === undefined ? 'Your tokens' : 'Your new token';
  const content = html`${notice && html`<p class="notice" role="status">${notice}</p>`}
<h1>${title}</h1>
${issued && freshToken(issued, view)}
<section aria-labelledby="tokens">
<h2 id="tokens">Valid tokens</h2>
${tokenList(tokens, signedIn)}
</section>
<section aria-labelledby="create">
<h2 id="create">Create a token</h2>
${createForm(choices, signedIn)}
</section>
${issued === undefined ? usage(view) : undefined}`;
  return page({ host, title: notice ?? title, content, signedIn });
}

function freshToken(issued: IssuedPersonalToken, view: AccountView): Html {
  const { host, otherHosts } = view;
  const { token, details } = issued;
  const username = userNameFor(view.signedIn.name);
  const lasts = html`${printLife(details.expiresAt - details.createdAt)}, until ${time(details.expiresAt)} UTC`;
  return html`<section class="fresh" aria-labelledby="new">
<h2 id="new">${details.label}</h2>
<p>This is your password for ${host}. It works for ${lasts}. It is shown only now.</p>
${copyLine('the token', token.reveal())}
${elsewhere(otherHosts)}
</section>
<section aria-labelledby="login">
<h2 id="login">Log in with it</h2>
<p>Paste the token when you are asked for the password.</p>
${loginLines(host, username, token).map(
  ({ program, asking, whole = '' }) => html`<h3>${titles[program]}</h3>
${copyLine(`the ${program} login`, asking)}
<details><summary>${titles[program]} in one line</summary>
<p>For scripts. The history of your shell has the token then.</p>
${copyLine(`the ${program} login in one line`, whole)}
</details>`,
)}
</section>
<section aria-labelledby="kubernetes">
<h2 id="kubernetes">Kubernetes</h2>
<p>A Secret that lets Pods of its namespace pull. The history of your shell has the token then.</p>
${copyLine('the kubectl line', kubectlLine(host, username, token))}
<details><summary>The same as a manifest</summary>
<p>For <code>kubectl apply -f</code>. It holds the token: keep it as you keep a password.</p>
${copyLine('the manifest', pullSecretManifest(host, username, token))}
</details>
<p>In the <code>spec</code> of a Pod:</p>
${copyLine('the imagePullSecrets', imagePullSecrets(host))}
</section>`;
}

function usage({ host, otherHosts, signedIn }: AccountView): Html {
  const [docker] = loginLines(host, userNameFor(signedIn.name));
  return html`<section aria-labelledby="use">
<h2 id="use">Use a token</h2>
<p>A token is your password for ${host}. Paste it when you are asked for one:</p>
${copyLine('the docker login', docker?.asking ?? '')}
<p>A token that is lost cannot be shown again: revoke it and create another.</p>
${elsewhere(otherHosts)}
</section>`;
}

function elsewhere(hosts: readonly string[]): Html | undefined {
  if (hosts.length === 0) return undefined;
  return html`<p>Your tokens are good for these too: ${hosts.map(
    (host, i) => html`${i === 0 ? '' : ', '}<code>${host}</code>`,
  )}.</p>`;
}
