import { z } from 'zod';
import { secretSource } from '../../settings/secret-source.js';
import { serverKeys } from '../../settings/server-keys.js';
import { isLocal, type LdapServer, ldapUrl } from './ldap-url.js';
import { dnTemplate, memberFilter, userFilter } from './template.js';

const expectedAttribute = 'expected the name of an attribute, such as uid';
const attributeName = () =>
  z
    .string({ error: expectedAttribute })
    .regex(/^[A-Za-z][A-Za-z0-9-]*$/, expectedAttribute)
    .meta({ title: 'attribute' });

const expectedDn = 'expected a DN such as ou=people,dc=example,dc=com';
const plainDn = () =>
  z
    .string({ error: expectedDn })
    .regex(/^\s*[A-Za-z0-9.-]+\s*=/, expectedDn)
    .meta({ title: 'DN' });

const scope = () =>
  z
    .enum(['one', 'sub'])
    .default('sub')
    .describe('Directly under the base (`one`), or anywhere beneath it (`sub`).');

const groups = z
  .strictObject({
    attribute: attributeName()
      .optional()
      .describe("The attribute of the user's entry that lists the groups: `memberOf`. Or `search`."),
    search: z
      .strictObject({
        base: plainDn().describe('Where the groups are.'),
        scope: scope(),
        filter: memberFilter().describe(
          "Finds a user's groups. `{dn}` is the user's DN, `{username}` the name as the directory has it: `(member={dn})`, `(memberUid={username})`.",
        ),
      })
      .optional()
      .describe('Looks groups up by what they say of their members.'),
    name: z
      .union([z.literal('dn'), attributeName()])
      .default('cn')
      .describe(
        "What a group is called in rules: an attribute of it, or `dn` for its whole DN (for `attribute`: the value as it stands). Two groups of the same `cn` in different places are one group to rules; where that can be, take `dn`. With `attribute` it must be what the groups' DNs begin with.",
      ),
    nested: z
      .boolean()
      .default(false)
      .describe('Also the groups that these groups are members of, and so on; with `search` by `{dn}` only.'),
  })
  .refine(({ attribute, search }) => (attribute === undefined) !== (search === undefined), {
    error: 'expected either `attribute` or `search`',
  })
  .refine(
    ({ nested, search }) => !nested || (search?.filter.names('dn') && !search.filter.names('username')),
    {
      error: 'needs `search` with a filter that has {dn} in it, and not {username}',
      path: ['nested'],
    },
  );

export const ldapConfig = z
  .strictObject({
    url: z
      .union([ldapUrl().transform((one) => [one]), z.array(ldapUrl()).min(1).max(8)], {
        error: 'expected ldaps://HOST[:PORT] or ldap://HOST[:PORT], or a list of them',
      })
      .describe('The servers of one directory; the one that answered last is asked first.'),
    startTls: z
      .boolean()
      .default(false)
      .describe('Switches `ldap://` connections to TLS before anything else is said.'),
    plaintext: z
      .boolean()
      .default(false)
      .describe('Allows `ldap://` without TLS to other machines: whoever is on the way reads the passwords.'),
    ca: serverKeys.ca,
    timeout: serverKeys.timeout.describe(
      'How long one verification may take, with all its questions and tries.',
    ),
    bind: z
      .strictObject({
        dn: z
          .string({ error: expectedDn })
          .min(1, expectedDn)
          .describe('The service account that searches. Active Directory also takes `name@domain`.'),
        password: secretSource().describe('Its password.'),
      })
      .optional()
      .describe('Absent: searches are anonymous, for directories that allow it.'),
    search: z
      .strictObject({
        base: plainDn().describe('Where the users are.'),
        scope: scope(),
        filter: userFilter()
          .prefault('(uid={username})')
          .describe(
            'Finds the one entry of a user. What it leaves out, disabled accounts say, cannot log in.',
          ),
      })
      .optional()
      .describe("Finds a user's entry, and then binds as it. Either this or `bindDn`."),
    bindDn: dnTemplate()
      .optional()
      .describe(
        "A user's DN, such as `uid={username},ou=people,dc=example,dc=com`: needs no service account, but can look nobody up again. The name must be in its first part, as `usernameAttribute`.",
      ),
    usernameAttribute: attributeName()
      .default('uid')
      .describe(
        "The attribute that is the name in rules, in the directory's own spelling. It must have one value, and must not be for the user to choose. With `bindDn` the one that this begins with. Active Directory: `sAMAccountName`.",
      ),
    groups: groups.optional().describe('Where the groups are found. Absent: no groups.'),
    attributes: z
      .record(
        z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected a name such as department'),
        attributeName(),
      )
      .default({})
      .describe(
        'What rules can speak of beside name and groups: a name of yours, and the attribute it is taken from.',
      ),
    credentialVersionAttribute: attributeName()
      .optional()
      .describe(
        'An attribute that changes with the password, such as `pwdChangedTime` or `pwdLastSet`: refresh tokens of before then end.',
      ),
  })
  .refine(({ search, bindDn }) => (search === undefined) !== (bindDn === undefined), {
    error: 'expected either `search` or `bindDn`',
  })
  .refine(({ bind, bindDn }) => bind === undefined || bindDn === undefined, {
    error: 'belongs to `search`; with `bindDn` the user is the one who binds',
    path: ['bind'],
  })
  .refine((one) => one.bindDn === undefined || one.credentialVersionAttribute === undefined, {
    error:
      'belongs to `search`: with `bindDn` nobody is looked up again, and there are no refresh tokens to end',
    path: ['credentialVersionAttribute'],
  })
  .superRefine(({ bindDn, usernameAttribute }, context) => {
    // Of a part of its own DN an entry has the value, and no other entry beside it has that. Of any other attribute two
    // entries might have the same one.
    const naming = bindDn?.namingAttributes ?? [usernameAttribute];
    if (naming.some((one) => one.toLowerCase() === usernameAttribute.toLowerCase())) return;
    const [first] = naming;
    const message =
      first === undefined
        ? 'expected {username} in the first part of the DN: others share the rest'
        : `would let two entries have one name; with this \`bindDn\` it must be ${first}`;
    context.addIssue({
      code: 'custom',
      message,
      path: [first === undefined ? 'bindDn' : 'usernameAttribute'],
    });
  })
  .refine(({ url, startTls }) => !startTls || url.every(({ secure }) => !secure), {
    error: 'is for ldap:// only; ldaps:// has TLS already',
    path: ['startTls'],
  })
  .refine((config) => config.url.every((server) => isProtected(server, config)), {
    error: 'would send passwords in plain text; expected ldaps://, or `startTls: true`',
    path: ['url'],
  });

function isProtected(
  server: LdapServer,
  { startTls, plaintext }: { readonly startTls: boolean; readonly plaintext: boolean },
): boolean {
  return server.secure || startTls || plaintext || isLocal(server);
}

export type LdapConfig = z.output<typeof ldapConfig>;
export type GroupSettings = z.output<typeof groups>;
