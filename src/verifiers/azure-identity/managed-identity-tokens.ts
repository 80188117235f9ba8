import type { CallOptions, Clock, Log } from '../../contracts/index.js';
import type { HttpCaller } from '../../outgoing/http-caller.js';
import { signingInput, unverifiedClaims } from '../../protocol/jwt-form.js';
import { type Claims, textsOf } from '../claims/claim-path.js';
import { digestOf } from '../machine/first-use.js';
import { asRefusedMachine, notListed, refused } from '../machine/shown-proof.js';
import { FetchedKeys } from '../openid/issuer-keys.js';
import { discoveredKeys } from '../openid/key-source.js';
import { OtherAudiences } from '../openid/other-audiences.js';
import { verifyToken } from '../openid/verify-token.js';
import type { ProvenMachine } from './proven-machine.js';
import { type AzureResource, parseResource } from './resource-id.js';
import { type AzureIdentitySettings, guidIn } from './settings.js';

type TokenSettings = Pick<AzureIdentitySettings, 'subscriptions' | 'tenants' | 'audiences' | 'clockSkew'>;

/** How Entra ID names itself in the tokens of a tenant: in version 1.0, which is usual, and in 2.0. */
const issuer =
  /^https:\/\/(?:sts\.windows\.net\/(?<v1>[0-9a-f-]{36})\/|login\.microsoftonline\.com\/(?<v2>[0-9a-f-]{36})\/v2\.0)$/;

interface Given {
  readonly id: string;
  readonly caller: HttpCaller;
  readonly clock: Clock;
  readonly log: Log;
}

/** @returns the tenant whose token this claims to be; undefined where it does not come from Entra ID */
export function tenantOf({ iss }: Claims): string | undefined {
  const groups = typeof iss === 'string' ? issuer.exec(iss)?.groups : undefined;
  return guidIn(groups?.v1 ?? groups?.v2);
}

/** Verifies tokens that Entra ID gives to managed identities. */
export class ManagedIdentityTokens {
  readonly #settings: TokenSettings;
  readonly #given: Given;
  readonly #others: OtherAudiences;
  /** By issuer. All tenants' tokens are signed with the same keys; it is the issuer that tells them apart. */
  readonly #keys = new Map<string, FetchedKeys>();

  constructor(settings: TokenSettings, given: Given) {
    this.#settings = settings;
    this.#given = given;
    const { id, clock, log } = given;
    const noted = { id, clock, log, expected: settings.audiences };
    this.#others = new OtherAudiences('a token of Entra ID is for other audiences', noted);
  }

  /**
   * True where, by what nobody has verified, it is for one of our audiences; it is noted where it is not.
   *
   * @param claims those of the token, unverified
   * @param address the client's
   */
  isForUs({ aud }: Claims, address: string): boolean {
    const audiences = textsOf(aud);
    if (this.#hasOurs(audiences)) return true;
    this.#others.note(audiences, address);
    return false;
  }

  /** True where, by what nobody has verified, it is of a managed identity of an allowed tenant, for one of our audiences. */
  isOurs(token: string): boolean {
    const claims = unverifiedClaims(token);
    const tenant = claims && tenantOf(claims);
    if (claims?.xms_mirid === undefined || tenant === undefined) return false;
    return this.#settings.tenants?.includes(tenant) === true && this.#hasOurs(textsOf(claims.aud));
  }

  /**
   * @param shown the claims of the token, unverified
   * @throws RegistryError UNAUTHORIZED; UNAVAILABLE where the keys of the tenant are not known now
   */
  async verify(token: string, shown: Claims, o: CallOptions): Promise<ProvenMachine> {
    o.signal.throwIfAborted();
    const { clockSkew, audiences } = this.#settings;
    const { iss, tenant } = this.#issuerOf(shown);
    // Entra ID signs with nothing else.
    const expected = { issuer: iss, audiences, clockSkew, algorithms: ['RS256'] };
    const keys = this.#keysOf(iss);
    const { claims, expiresAt } = await verifyToken(token, keys, expected, this.#given.clock, o).catch(
      (error: unknown) => {
        throw asRefusedMachine(error);
      },
    );
    // Without the signature: the same token can be written with several.
    return { ...this.#machineOf(claims, tenant), expiresAt, digest: digestOf(signingInput(token)) };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#keys.values()].map((keys) => keys.close()));
  }

  #hasOurs(audiences: readonly string[]): boolean {
    return audiences.some((one) => this.#settings.audiences.includes(one));
  }

  /** Before any key is asked for, which is done for allowed tenants alone. */
  #issuerOf(claims: Claims): { readonly iss: string; readonly tenant: string } {
    const { tenants } = this.#settings;
    if (tenants === undefined) throw refused('a token was shown, and no `tenants` are configured');
    const tenant = tenantOf(claims);
    if (tenant === undefined) throw refused('its token is not by Entra ID');
    if (!tenants.includes(tenant)) throw notListed('the tenant', tenant, 'tenants', 'as its token says');
    return { iss: String(claims.iss), tenant };
  }

  #keysOf(iss: string): FetchedKeys {
    const { caller, id, clock, log } = this.#given;
    const keys = this.#keys.get(iss) ?? new FetchedKeys(discoveredKeys(iss, caller), { id, clock, log });
    this.#keys.set(iss, keys);
    return keys;
  }

  #machineOf(claims: Claims, tenant: string): Pick<ProvenMachine, 'name' | 'attributes'> {
    const { oid, tid, appid, azp, xms_mirid, xms_az_rid } = claims;
    const objectId = guidIn(oid);
    if (guidIn(tid) !== tenant || objectId === undefined)
      throw refused(`the token of the tenant ${tenant} has no tid of it, or no oid`);
    const who = `the token of ${objectId} of the tenant ${tenant}`;
    requireApplication(claims, who);
    const identity = parseResource(xms_mirid);
    if (identity === undefined)
      throw refused(`${who} is of no managed identity: it has no resource ID (xms_mirid)`);
    const machine = xms_az_rid === undefined ? undefined : parseResource(xms_az_rid);
    if (xms_az_rid !== undefined && machine === undefined)
      throw refused(`${who} names what is no resource ID (xms_az_rid)`);
    this.#requireSubscriptions([identity, ...(machine === undefined ? [] : [machine])], who);
    const { subscriptionId, resourceGroup } = identity;
    const appId = guidIn(appid ?? azp);
    return {
      name: `${tenant}/${objectId}`,
      attributes: {
        ...{ tenantId: tenant, objectId, identity: identity.text, subscriptionId, resourceGroup },
        ...(appId !== undefined && { appId }),
        // A system-assigned identity is its machine's, and says it once.
        ...(machine === undefined ? identity.isCompute && { vm: identity.text } : { vm: machine.text }),
      },
    };
  }

  #requireSubscriptions(resources: readonly AzureResource[], who: string): void {
    const { subscriptions } = this.#settings;
    const other = resources.find(({ subscriptionId }) => subscriptions?.includes(subscriptionId) === false);
    if (other !== undefined) throw notListed('the subscription', other.subscriptionId, 'subscriptions', who);
  }
}

/** `idtyp` is there where the app registration asks for it; `scp` is what a user has let an application do. */
function requireApplication({ idtyp, scp }: Claims, who: string): void {
  if ((idtyp !== undefined && idtyp !== 'app') || scp !== undefined)
    throw refused(`${who} is of a user, and not of a managed identity`);
}
