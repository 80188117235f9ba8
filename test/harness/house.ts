import { hash } from '@node-rs/bcrypt';

// Who lives behind the front of these tests, where a test does not say otherwise:
//
//   alice   may pull, push and delete everything
//   bob     may pull open/**
//   eve     has a password and no rights

/** Characters that a careless parser splits, decodes or escapes. */
export const passwords = {
  alice: 'w0nder:land+%20&/=?"ü',
  bob: 'bu1lder-of-tests',
  eve: 'dr0pper-of-eaves',
} as const;

export type User = keyof typeof passwords;

export const houseSettings = {
  listen: 'listen: 127.0.0.1:0',
  admin: 'admin: { listen: 127.0.0.1:0 }',
  externalUrl: 'externalUrl: http://docker.test',
  log: 'log: { level: debug }',
  drainTimeout: 'drainTimeout: 2s',
  verifiers: 'verifiers: [{ id: local, type: htpasswd, file: users.htpasswd }]',
  policy: `policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull, push, delete] }
  - { names: ["local:bob"], repositories: ["open/**"], actions: [pull] }`,
} as const;

/** Apache's htpasswd format, at bcrypt's lowest cost. */
export async function htpasswd(users: Readonly<Record<string, string>>): Promise<string> {
  const lines = await Promise.all(
    Object.entries(users).map(async ([name, password]) => `${name}:${await hash(password, 4)}\n`),
  );
  return lines.join('');
}
