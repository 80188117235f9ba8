import { mkdirSync } from 'node:fs';
import { Attribute, Change, Client, type Entry } from 'ldapts';
import { certify, createAuthority } from '../../../src/testing/certificates.js';
import { findProgram } from '../../../src/testing/programs.js';
import { run, succeeded } from '../../e2e/harness/command.js';
import { freePort } from '../../e2e/harness/free-port.js';
import { accepts, type Program, startProgram } from '../../e2e/harness/program.js';
import type { Workspace } from '../../e2e/harness/workspace.js';

export const base = 'dc=example,dc=com';
export const people = `ou=people,${base}`;
export const groups = `ou=groups,${base}`;
/** Reads everything but passwords. */
const serviceDn = `cn=proxy,${base}`;
const rootDn = `cn=root,${base}`;
const rootPassword = 'root-of-the-directory';

export interface SlapdOptions {
  /** Whether it offers StartTLS and ldaps. Default: true. */
  readonly tls?: boolean;
  /** The only name its certificate is for. Default: this machine's. */
  readonly certificateFor?: string;
  /** Who may read without a bind. Default: nobody. */
  readonly anonymousMayRead?: boolean;
}

export type Attributes = Readonly<Record<string, string | readonly string[]>>;

/** A real directory on loopback ports, with `person`s and groups of a test. */
export interface Slapd {
  /** `ldap://127.0.0.1:PORT`, and the same with TLS. */
  readonly url: string;
  readonly secureUrl: string;
  /** PEM file of the authority that signed its certificate. */
  readonly ca: string;
  readonly service: { readonly dn: string; readonly password: string; readonly passwordFile: string };
  add(dn: string, attributes: Attributes): Promise<void>;
  /** On one connection. */
  addMany(entries: readonly (readonly [dn: string, attributes: Attributes])[]): Promise<void>;
  /** An inetOrgPerson. @returns its DN */
  addPerson(uid: string, password: string, more?: Readonly<Record<string, string>>): Promise<string>;
  /** A groupOfNames. @returns its DN */
  addGroup(cn: string, members: readonly string[]): Promise<string>;
  remove(dn: string): Promise<void>;
  /** Sets attributes of an entry. */
  replace(dn: string, attributes: Readonly<Record<string, string>>): Promise<void>;
  setPassword(dn: string, password: string): Promise<void>;
  /** What the root of the directory sees. */
  find(dn: string, attributes: readonly string[]): Promise<Entry | undefined>;
  stop(): Promise<void>;
  /** On the same ports, with all entries. */
  restart(): Promise<void>;
}

/** Settings of the verifier `ldap` that finds people with the service account, and those that bind by a template. */
export function searching({ url, service }: Slapd, more: object = {}): object {
  const bind = { dn: service.dn, password: { file: service.passwordFile } };
  return { url, bind, search: { base: people }, timeout: '5s', ...more };
}

export function byTemplate({ url }: Slapd, more: object = {}): object {
  return { url, bindDn: `uid={username},${people}`, timeout: '5s', ...more };
}

/** Starts Debian's slapd; the workspace stops it. */
export async function startSlapd(workspace: Workspace, options: SlapdOptions = {}): Promise<Slapd> {
  const ports = { plain: await freePort(), secure: await freePort() };
  const at = `slapd-${ports.plain}`;
  const service = {
    dn: serviceDn,
    password: 'service password',
    passwordFile: workspace.file(`${at}/service-password`, 'service password\n'),
  };
  mkdirSync(workspace.path(at, 'data'));
  const ca = await writeTls(workspace, at, options);
  const conf = workspace.file(`${at}/slapd.conf`, configuration(workspace.path(at), options));
  let program: Program | undefined;
  const start = async () => {
    program = await startProgram(workspace, {
      command: findProgram('slapd') ?? 'slapd',
      args: ['-d', '0', '-f', conf, '-h', urls(ports, options)],
      ready: async () =>
        (await accepts(`127.0.0.1:${ports.plain}`)) &&
        (options.tls === false || (await accepts(`127.0.0.1:${ports.secure}`))),
    });
  };
  await start();
  const url = `ldap://127.0.0.1:${ports.plain}`;
  const slapd: Slapd = {
    ...{ url, secureUrl: `ldaps://127.0.0.1:${ports.secure}`, ca, service },
    ...operations(url),
    stop: async () => program?.stop(),
    restart: async () => {
      await program?.stop();
      await start();
    },
  };
  await fill(slapd);
  return slapd;
}

function urls(
  ports: { readonly plain: number; readonly secure: number },
  { tls = true }: SlapdOptions,
): string {
  const plain = `ldap://127.0.0.1:${ports.plain}/`;
  return tls ? `${plain} ldaps://127.0.0.1:${ports.secure}/` : plain;
}

async function writeTls(workspace: Workspace, at: string, { certificateFor }: SlapdOptions): Promise<string> {
  if (certificateFor !== undefined) {
    const key = workspace.file(`${at}/server.key`, '');
    const certificate = workspace.file(`${at}/server.crt`, '');
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const subject = ['-subj', '/CN=directory', '-addext', `subjectAltName=DNS:${certificateFor}`];
    const files = ['-keyout', key, '-out', certificate];
    const env = workspace.environment();
    succeeded(await run('openssl', ['req', '-x509', ...kind, ...subject, ...files], { env }));
    return workspace.file(`${at}/ca.crt`, workspace.read(`${at}/server.crt`));
  }
  const authority = await createAuthority({ name: 'directory authority' });
  const { certificate, privateKey } = await certify(authority, { name: 'directory' });
  workspace.file(`${at}/server.crt`, certificate);
  workspace.file(`${at}/server.key`, privateKey);
  return workspace.file(`${at}/ca.crt`, authority.certificate);
}

function configuration(directory: string, { tls = true, anonymousMayRead = false }: SlapdOptions): string {
  const schemas = ['core', 'cosine', 'inetorgperson', 'nis'];
  const nobody = anonymousMayRead ? 'read' : 'auth';
  return `${schemas.map((name) => `include /etc/ldap/schema/${name}.schema`).join('\n')}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile ${directory}/slapd.pid
argsfile ${directory}/slapd.args
${tls ? `TLSCACertificateFile ${directory}/ca.crt\nTLSCertificateFile ${directory}/server.crt\nTLSCertificateKeyFile ${directory}/server.key\n` : ''}
database mdb
suffix "${base}"
rootdn "${rootDn}"
rootpw ${rootPassword}
directory ${directory}/data
maxsize 16777216
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="${groups}" by dn.exact="${serviceDn}" read by users read by anonymous ${nobody} by * none
access to * by dn.exact="${serviceDn}" read by self read by anonymous ${nobody} by * none
overlay memberof
overlay ppolicy
`;
}

/** Each on a connection of its own, as the root of the directory. */
function operations(url: string) {
  const asRoot = async <V>(work: (client: Client) => Promise<V>): Promise<V> => {
    const client = new Client({ url, timeout: 10_000, connectTimeout: 10_000 });
    try {
      await client.bind(rootDn, rootPassword);
      return await work(client);
    } finally {
      await client.unbind();
    }
  };
  const addMany: Slapd['addMany'] = (entries) =>
    asRoot(async (client) => {
      for (const [dn, attributes] of entries)
        await client.add(dn, attributes as Record<string, string[] | string>);
    });
  const add: Slapd['add'] = (dn, attributes) => addMany([[dn, attributes]]);
  return {
    add,
    addMany,
    addPerson: async (uid: string, password: string, more: Readonly<Record<string, string>> = {}) => {
      const dn = `uid=${[...Buffer.from(uid)].map(hexPair).join('')},${people}`;
      const names = { uid, cn: uid, sn: uid, userPassword: password };
      await add(dn, { objectClass: 'inetOrgPerson', ...names, ...more });
      return dn;
    },
    addGroup: async (cn: string, members: readonly string[]) => {
      const dn = `cn=${cn},${groups}`;
      await add(dn, { objectClass: 'groupOfNames', cn, member: members });
      return dn;
    },
    remove: (dn: string) => asRoot((client) => client.del(dn)),
    replace: (dn: string, attributes: Readonly<Record<string, string>>) =>
      asRoot(async (client) => {
        for (const [type, value] of Object.entries(attributes)) {
          const modification = new Attribute({ type, values: [value] });
          await client.modify(dn, new Change({ operation: 'replace', modification }));
        }
      }),
    setPassword(dn: string, password: string) {
      return this.replace(dn, { userPassword: password });
    },
    find: (dn: string, attributes: readonly string[]) =>
      asRoot(async (client) => {
        const { searchEntries } = await client.search(dn, { scope: 'base', attributes: [...attributes] });
        return searchEntries[0];
      }),
  };
}

/** RFC 4514 section 2.4: any character may be written so, and no rule of ours is tested by itself. */
function hexPair(byte: number): string {
  return `\\${byte.toString(16).padStart(2, '0')}`;
}

async function fill(slapd: Slapd): Promise<void> {
  await slapd.add(base, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' });
  for (const ou of ['people', 'groups']) {
    await slapd.add(`ou=${ou},${base}`, { objectClass: 'organizationalUnit', ou });
  }
  const { dn, password } = slapd.service;
  await slapd.add(dn, {
    objectClass: ['applicationProcess', 'simpleSecurityObject'],
    cn: 'proxy',
    userPassword: password,
  });
}
