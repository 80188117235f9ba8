import { shorten } from '../reference/repository-name.js';
import type { Secret } from '../secret.js';

/** Characters that are looked at, once secrets are gone. */
const mostRead = 16_384;
/** Of one text, for a log line or a pod event. */
const longest = 600;
/** A shorter one is in every other word. */
const shortestSecret = 4;
/** A user name that was not written into the configuration may be a token; the usual ones are words: `oauth2accesstoken`. */
const shortestSecretName = 20;

/** What must not be told. A `Credential` is one. */
export type Untold =
  | { readonly username: string; readonly password: Secret; readonly isConfigured?: true }
  | { readonly token: Secret };

/**
 * What a runtime, an engine or a source says, for logs, pod events and `status`: one line, bounded, without what may be
 * secret. Registries send clients to storage by presigned URLs, and runtimes print these.
 *
 * @param untold what must not appear, whatever the text is
 */
export function toldText(text: string, untold: readonly Untold[] = []): string {
  return shorten(oneToldLine(text, untold), longest);
}

/** The same in its whole length, up to a bound. */
export function oneToldLine(text: string, untold: readonly Untold[] = []): string {
  const line = withoutForms(text, untold).slice(0, mostRead).replace(/\s+/g, ' ').trim();
  return withoutTraces(line).trim();
}

/** The same, and otherwise as it is: lines stay. */
export function withoutSecrets(text: string, untold: readonly Untold[]): string {
  const safe = withoutForms(text, untold);
  const told = withoutTraces(safe.slice(0, mostRead));
  return safe.length > mostRead ? `${told}…` : told;
}

/** Whole, before anything is cut: half a secret would not be found. */
function withoutForms(text: string, untold: readonly Untold[]): string {
  const forms = new Set(untold.flatMap(secretsOf).flatMap(formsOf));
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  return longestFirst.reduce((told, form) => told.replaceAll(form, '[secret]'), text);
}

/** What is secret by its look. Each repetition that another rule could begin anew in is bounded. */
function withoutTraces(text: string): string {
  return (
    text
      // containerd quotes what it cannot read of an imagePullSecret.
      .replace(/invalid decoded auth: [\s\S]*/, 'invalid decoded auth')
      // A password may hold a slash; `host:5000/app@sha256:…` is none.
      .replace(/:\/\/(?:[^\s"'/?#@:]*:[^\s"']{0,2048}@(?!sha\d+:)|[^\s"'/?#@]*@)+/g, '://')
      .replace(/(:\/\/[^\s"'?#<>]{0,2048})[?#][^\s"'<>]+/g, cutQuery)
      .replace(/()\?[^\s"'<>?]*[=%][^\s"'<>]*/g, cutQuery)
      .replace(/([;&][\w.-]{0,64}(?:sig|token|key|secret|cred|pass)[\w.-]{0,64}=)[^\s"'<>;&]+/gi, '$1…')
      .replace(/\b(Bearer|Basic) [A-Za-z0-9+/._~=-]{16,}/gi, '$1 [token]')
      .replace(/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9._-]*/g, '[token]')
      // A proxy's page.
      .replace(/<(?:!doctype|html)[\s\S]*/i, '…')
  );
}

function cutQuery(whole: string, before: string): string {
  return `${before}?…${/[:,.;)\]]*$/.exec(whole)?.[0] ?? ''}`;
}

function secretsOf(one: Untold): readonly string[] {
  if ('token' in one) return [one.token.reveal()];
  const { username, isConfigured } = one;
  const password = one.password.reveal();
  if (password === '') return [];
  const pair = Buffer.from(`${username}:${password}`);
  const isSecretName = isConfigured !== true && username.length >= shortestSecretName;
  return [pair.toString('base64'), pair.toString('base64url'), password, ...(isSecretName ? [username] : [])];
}

/** As URLs, JSON and quoted texts have it: which characters they escape differs. */
function formsOf(secret: string): readonly string[] {
  const unpadded = secret.replace(/=+$/, '');
  const plain = [secret, ...(unpadded.length >= shortestSecretName ? [unpadded] : [])];
  const forms = [...plain, ...plain.flatMap(percentForms)];
  const quoted = forms.flatMap((form) => [quote(form), quote(quote(form)), escapeMarkup(quote(form))]);
  return [...forms, ...quoted].filter((form) => form.length >= shortestSecret);
}

/** What stays: in any part (RFC 3986 section 2.3), in JavaScript, in the userinfo of Go's `net/url`. */
const unescaped = [/[^A-Za-z0-9_.~-]/g, /[^A-Za-z0-9_.~!*'()-]/g, /[^A-Za-z0-9_.~$&+,;=-]/g];

function percentForms(secret: string): readonly string[] {
  const bytes = Buffer.from(secret).toString('latin1');
  return unescaped.flatMap((escaped) => {
    const upper = bytes.replace(
      escaped,
      (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
    );
    const lower = upper.replace(/%../g, (code) => code.toLowerCase());
    return [upper, lower, upper.replaceAll('%20', '+'), lower.replaceAll('%20', '+')];
  });
}

function quote(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** Go's encoding/json. */
function escapeMarkup(text: string): string {
  return text.replace(/[<>&]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);
}
