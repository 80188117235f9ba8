import { favicon, script, style } from './assets.js';
import { type Html, html } from './html.js';

/** Who is signed in, as each of their pages shows it. */
export interface SignedIn {
  readonly name: string;
  /** The id of the verifier that vouches. */
  readonly verifier: string;
  /** What the page's forms bring along. */
  readonly csrfToken: string;
}

export interface Layout {
  /** `docker.example.com`. */
  readonly host: string;
  /** What state this page is in; the host is added. */
  readonly title: string;
  readonly content: Html;
  readonly signedIn?: SignedIn;
}

/** A whole document. */
export function page({ host, title, content, signedIn }: Layout): Buffer {
  const text = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title === host ? host : `${title} – ${host}`}</title>
<link rel="icon" href="${favicon.url}" type="image/svg+xml">
<link rel="stylesheet" href="${style.url}">
<script src="${script.url}" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<a class="brand" href="/">${host}</a>
${signedIn && who(signedIn)}
</header>
<main id="content" tabindex="-1">
${content}
</main>
<p id="copy-status" class="hidden" role="status" aria-live="polite"></p>
</body>
</html>
`;
  return Buffer.from(text.toString());
}

/** @param name what it is, as the button that copies it says: `the docker line` */
export function copyLine(name: string, text: string): Html {
  return html`<div class="line" data-copy="${name}"><pre><code>${text}</code></pre></div>`;
}

export function csrfField({ csrfToken }: SignedIn): Html {
  return html`<input type="hidden" name="csrf" value="${csrfToken}">`;
}

function who(signedIn: SignedIn): Html {
  return html`<div class="who">
<p>Signed in as <strong>${signedIn.name}</strong> <span class="quiet">(${signedIn.verifier})</span></p>
<form method="post" action="/sign-in/out">${csrfField(signedIn)}<button>Sign out</button></form>
</div>`;
}
