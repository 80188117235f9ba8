import type { World, WorldRequest } from './world.js';

/** A secret as it may turn up: as it is, percent-encoded, and in base64 with and without a user name. */
function formsOf(secret: string, username: string | undefined): readonly string[] {
  const base64 = (text: string) => Buffer.from(text).toString('base64').replace(/=+$/, '');
  const forms = [secret, encodeURIComponent(secret), base64(secret)];
  return username === undefined ? forms : [...forms, base64(`${username}:${secret}`)];
}

/** The hosts that ever saw a secret, in whatever part of a request. */
export function hostsThatSaw(world: World, secret: string, username?: string): readonly string[] {
  const forms = formsOf(secret, username);
  const shows = ({ path, headers, body }: WorldRequest) => {
    const text = `${path}\n${Object.entries(headers).flat(2).join('\n')}\n${body}`;
    return forms.some((form) => text.includes(form));
  };
  return [...new Set(world.requests.filter(shows).map(({ host }) => host))].sort();
}

/** Which of these secrets a text shows. */
export function secretsIn(
  text: string,
  secrets: readonly { secret: string; username?: string }[],
): readonly string[] {
  return secrets
    .filter(({ secret, username }) => formsOf(secret, username).some((form) => text.includes(form)))
    .map(({ secret }) => secret);
}
