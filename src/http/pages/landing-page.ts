import { html } from './html.js';
import { copyLine, page } from './layout.js';
import { shellWord } from './shell-lines.js';

export interface LandingView {
  readonly host: string;
  /** Where signing in begins; absent where people have their passwords from elsewhere. */
  readonly signIn?: string;
  /** Why somebody is here again. */
  readonly notice?: string;
}

/** What this registry is and how to use it, for whoever opens it in a browser. */
export function landingPage({ host, signIn, notice }: LandingView): Buffer {
  const content = html`${notice && html`<p class="notice" role="status">${notice}</p>`}
<h1>Container registry</h1>
<p>${host} keeps container images. Programs such as <code>docker</code> push them here and pull them from here.</p>
${
  signIn &&
  html`<section aria-labelledby="access">
<h2 id="access">Get access</h2>
<p>Sign in to get a personal access token: it is your password for <code>docker login</code>.</p>
<p><a class="button main" href="${signIn}">Sign in</a></p>
</section>`
}
<section aria-labelledby="use">
<h2 id="use">Use it</h2>
<p>Log in once, with your user name and your ${signIn === undefined ? 'password' : 'token as the password'}:</p>
${copyLine('the login line', `docker login ${shellWord(host)}`)}
<p>Then put the name of this registry before the names of images:</p>
${copyLine('the pull line', `docker pull ${host}/NAME:TAG`)}
</section>`;
  return page({ host, title: host, content });
}
