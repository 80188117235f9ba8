import { STATUS_CODES } from 'node:http';
import type { RegistryError } from '../../errors.js';
import { type Html, html } from './html.js';
import { page } from './layout.js';

/** What a person can do about it. */
export type NextStep = 'sign-in' | 'back' | 'later';

export interface ErrorView {
  readonly host: string;
  readonly error: RegistryError;
  readonly next: NextStep;
  /** Also in the logs, and in the answer's `X-Request-Id`. */
  readonly requestId: string;
}

const titles: Readonly<Record<number, string>> = {
  400: 'This did not work',
  403: 'Not allowed',
  429: 'Too many requests',
  500: 'Something went wrong here',
  503: 'Not possible at the moment',
};

export function errorPage({ host, error, next, requestId }: ErrorView): Buffer {
  const { status, message } = error;
  const title = titles[status] ?? STATUS_CODES[status] ?? 'This did not work';
  const content = html`<h1>${title}</h1>
<section aria-label="What happened">
<p>${sentence(message)}</p>
${steps[next]}
<dl>
<dt>Status</dt><dd>${status}</dd>
<dt>Request</dt><dd><code>${requestId}</code></dd>
</dl>
<p class="quiet">If it goes on, give the number of the request to whoever runs this registry: their log has it.</p>
</section>`;
  return page({ host, title, content });
}

const steps: Readonly<Record<NextStep, Html>> = {
  'sign-in': html`<p><a class="button main" href="/sign-in">Sign in again</a> <a class="button" href="/">Back</a></p>`,
  back: html`<p><a class="button main" href="/">Back to the start</a></p>`,
  later: html`<p>Try again in a moment. <a class="button" href="/">Back to the start</a></p>`,
};

/** The words of errors are written for the middle of a line. */
function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
