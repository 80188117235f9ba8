import { z } from 'zod';
import { parseJsonObject, parseStrictJsonObject } from '../../protocol/json-object.js';

/** Whose keys signed a request, by what STS answered. */
export interface CallerIdentity {
  readonly partition: string;
  readonly accountId: string;
  /** As STS tells it; of a role's session it names the session. */
  readonly arn: string;
  /** The IAM entity: of a session the role, without its path, which STS does not tell. */
  readonly entity: string;
  readonly kind: 'role' | 'user' | 'other';
  /** Of the role or user, without a path; for `other` what comes after the account. */
  readonly name: string;
  readonly sessionName: string | undefined;
  /** Never given twice: another one where a role was deleted and made anew. */
  readonly userId: string;
}

/** AWS STS API reference, "GetCallerIdentity", as it answers those that accept JSON. */
const answer = z.object({
  GetCallerIdentityResponse: z.object({
    GetCallerIdentityResult: z.strictObject({
      Account: z.string().regex(/^\d{12}$/),
      Arn: z.string().max(2048),
      UserId: z.string().regex(/^[\w+=,.@:-]{1,256}$/),
    }),
  }),
});

const arnForm = /^arn:(aws(?:-[a-z]+)*):(iam|sts)::(\d{12}):([\x21-\x7e]+)$/;
/** Roles of AWS's own have a colon: `aws:ec2-instance`. */
const sessionForm = /^assumed-role\/([\w+=,.@:-]{1,64})\/([\w+=,.@:-]{1,64})$/;
const userForm = /^user\/(?:[\x21-\x7e]*\/)?([\w+=,.@-]{1,64})$/;

/** @returns undefined where the text is anything but an answer that says one thing alone */
export function parseCallerIdentity(text: string): CallerIdentity | undefined {
  const { data } = answer.safeParse(parseStrictJsonObject(text));
  if (data === undefined) return undefined;
  const { Account, Arn, UserId } = data.GetCallerIdentityResponse.GetCallerIdentityResult;
  const [, partition, service, account, resource] = arnForm.exec(Arn) ?? [];
  if (partition === undefined || resource === undefined || account !== Account) return undefined;
  const [userId = ''] = UserId.split(':');
  const known = { partition, accountId: Account, arn: Arn, userId };
  const [, role, session] = (service === 'sts' && sessionForm.exec(resource)) || [];
  if (role !== undefined) {
    const entity = `arn:${partition}:iam::${Account}:role/${role}`;
    return { ...known, entity, kind: 'role', name: role, sessionName: session };
  }
  const [, user] = (service === 'iam' && userForm.exec(resource)) || [];
  if (user !== undefined) return { ...known, entity: Arn, kind: 'user', name: user, sessionName: undefined };
  return { ...known, entity: Arn, kind: 'other', name: resource, sessionName: undefined };
}

const error = z.object({ Error: z.object({ Code: z.string().regex(/^[A-Za-z.]{1,64}$/) }) });
/** For what goes wrong before it is known what the client accepts. */
const xmlError =
  /^\s*(?:<\?xml[^>]{0,100}>\s*)?<ErrorResponse xmlns="https:\/\/sts\.amazonaws\.com\/[^"]{0,100}">\s*<Error>\s*(?:<Type>\w{1,32}<\/Type>\s*)?<Code>([A-Za-z.]{1,64})<\/Code>/;

/** The name of an error of STS's (AWS Query protocol). @returns undefined where it is none of STS's */
export function parseStsError(text: string): string | undefined {
  return error.safeParse(parseJsonObject(text)).data?.Error.Code ?? xmlError.exec(text)?.[1];
}
