import type { PersonalAccessToken } from '../../sign-in/personal-access-token.js';
import { type Html, html } from './html.js';
import { csrfField, type SignedIn } from './layout.js';
import { type LifeChoice, printTime } from './lives.js';

/** The roles say again what the elements mean: narrow screens show the rows as blocks, and browsers forget it then. */
export function tokenList(tokens: readonly PersonalAccessToken[], signedIn: SignedIn): Html {
  if (tokens.length === 0) return html`<p>You have no token.</p>`;
  return html`<table role="table" aria-labelledby="tokens">
<thead role="rowgroup"><tr role="row">
${['Label', 'Created (UTC)', 'Expires (UTC)', 'Last used (UTC)', 'Revoke'].map(
  (name) => html`<th role="columnheader" scope="col">${name}</th>`,
)}
</tr></thead>
<tbody role="rowgroup">
${tokens.map((token) => row(token, signedIn))}
</tbody>
</table>`;
}

function row({ id, label, createdAt, expiresAt, usedAt }: PersonalAccessToken, signedIn: SignedIn): Html {
  return html`<tr role="row">
<th role="rowheader" scope="row">${label} <span class="id">${id}</span></th>
<td role="cell" data-label="Created (UTC)">${time(createdAt)}</td>
<td role="cell" data-label="Expires (UTC)">${time(expiresAt)}</td>
<td role="cell" data-label="Last used (UTC)">${usedAt === undefined ? 'never' : time(usedAt)}</td>
<td role="cell"><details>
<summary>Revoke<span class="hidden"> the token ${label} ${id}</span></summary>
<form method="post" action="/personal-tokens/revoke">${csrfField(signedIn)}<input type="hidden" name="id" value="${id}">
<p>Whatever logs in with it is locked out.</p>
<button class="danger">Yes, revoke it</button></form>
</details></td>
</tr>
`;
}

/** @param at milliseconds since the epoch */
export function time(at: number): Html {
  return html`<time datetime="${new Date(at).toISOString()}">${printTime(at)}</time>`;
}

export function createForm(choices: readonly LifeChoice[], signedIn: SignedIn): Html {
  return html`<form method="post" action="/personal-tokens">${csrfField(signedIn)}
<div class="fields">
<div class="field">
<label for="label">What is it for?</label>
<input id="label" name="label" required maxlength="64" autocomplete="off" aria-describedby="label-hint">
</div>
<div class="field">
<label for="life">Life</label>
<select id="life" name="life">
${choices.map(({ life, text, isSuggested }) => option(String(life), text, isSuggested))}
</select>
</div>
<button class="main">Create a token</button>
</div>
<p id="label-hint" class="quiet">A name by which you know it again, such as “laptop”.</p>
</form>`;
}

function option(value: string, text: string, isSelected: boolean): Html {
  return isSelected
    ? html`<option value="${value}" selected>${text}</option>`
    : html`<option value="${value}">${text}</option>`;
}
