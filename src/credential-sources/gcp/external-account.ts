import { z } from 'zod';
import { Secret } from '../../secret.js';
import { impersonatedAccount } from './impersonated-account.js';
import { checkGoogleUrl, checkMachineUrl, checkSubjectUrl } from './key-file-urls.js';

/** Workload identity federation: another's token is exchanged for one of Google's (google.aip.dev/auth/4117). */
export interface ExternalAccount {
  readonly type: 'external_account';
  readonly source: 'file' | 'url' | 'aws';
  /** JSON for the library, of keys that were checked alone. It may hold a client secret and headers. */
  readonly settings: Secret;
  /** Where the other's token comes from, checked; none for a file. The library asks below them, too. */
  readonly sourceUrls: readonly string[];
}

const text = z.string().min(1);

// The library also takes each key in camel case. So what is not known is refused, and what is given to the library is built
// of what was checked: a key that was overlooked here would send tokens where a file says.

const credentialSource = z.strictObject({
  ...{ file: text.optional(), url: text.optional() },
  headers: z.record(z.string(), z.string()).optional(),
  format: z
    .strictObject({ type: z.enum(['text', 'json']).optional(), subject_token_field_name: text.optional() })
    .optional(),
  environment_id: z.literal('aws1').optional(),
  ...{ region_url: text.optional(), imdsv2_session_token_url: text.optional() },
  regional_cred_verification_url: text.optional(),
  ...{ executable: z.unknown().optional(), certificate: z.unknown().optional() },
});
type CredentialSourceOfFile = z.output<typeof credentialSource>;

/** What a file of `type: external_account` may hold. */
export const externalAccountSchema = z.strictObject({
  type: z.string(),
  ...{ audience: text, subject_token_type: text },
  token_url: text.optional(),
  service_account_impersonation_url: text.optional(),
  service_account_impersonation: z.strictObject({ token_lifetime_seconds: z.int().optional() }).optional(),
  ...{ client_id: text.optional(), client_secret: text.optional() },
  workforce_pool_user_project: text.optional(),
  credential_source: credentialSource,
  universe_domain: z.literal('googleapis.com').optional(),
  // What other programs use, and nothing here.
  ...{ token_info_url: z.string().optional(), quota_project_id: z.string().optional() },
});

/** @throws an Error with a one-line message */
export function externalAccount(file: z.output<typeof externalAccountSchema>): ExternalAccount {
  const { token_url, service_account_impersonation_url: impersonation } = file;
  const { source, ...from } = sourceOf(file.credential_source);
  if (token_url !== undefined) checkGoogleUrl('token_url', token_url, 'sts');
  if (impersonation !== undefined) impersonatedAccount(impersonation);
  const settings = {
    ...{ type: 'external_account', audience: file.audience, subject_token_type: file.subject_token_type },
    ...{ token_url, service_account_impersonation_url: impersonation },
    service_account_impersonation: file.service_account_impersonation,
    ...{ client_id: file.client_id, client_secret: file.client_secret },
    workforce_pool_user_project: file.workforce_pool_user_project,
    credential_source: from.settings,
  };
  const { sourceUrls } = from;
  return { type: 'external_account', source, settings: new Secret(JSON.stringify(settings)), sourceUrls };
}

interface Source extends Pick<ExternalAccount, 'source' | 'sourceUrls'> {
  readonly settings: object;
}

function sourceOf(given: CredentialSourceOfFile): Source {
  if (given.certificate !== undefined) {
    throw new Error('its credential_source is a certificate, which is not supported: use file or url');
  }
  // The library would run it with all of our environment, and without a bound to what it prints.
  if (given.executable !== undefined) {
    throw new Error(
      'its credential_source is a program (executable), which is not run: let it write its token to a file or give it ' +
        'at a URL, and name that as file or url',
    );
  }
  if (given.environment_id !== undefined) return awsSource(given);
  const { file, url, headers, format } = given;
  if ((file === undefined) === (url === undefined)) {
    throw new Error('its credential_source has neither file nor url, or both');
  }
  if (format?.type === 'json' && format.subject_token_field_name === undefined) {
    throw new Error('its credential_source.format names no subject_token_field_name');
  }
  if (url === undefined) return { source: 'file', sourceUrls: [], settings: { file, format } };
  checkSubjectUrl('credential_source.url', url);
  return { source: 'url', sourceUrls: [url], settings: { url, headers, format } };
}

/** What is signed for AWS is sent by Google; the library takes any action that stands here. */
const callerIdentity =
  /^https:\/\/sts(?:-fips)?(?:\.(?:\{region\}|[a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?\/?\?Action=GetCallerIdentity&Version=2011-06-15$/;

function awsSource(given: CredentialSourceOfFile): Source {
  const { environment_id, url, region_url, imdsv2_session_token_url, regional_cred_verification_url } = given;
  const asked = { url, region_url, imdsv2_session_token_url };
  for (const [key, one] of Object.entries(asked)) {
    if (one !== undefined) checkMachineUrl(`credential_source.${key}`, one);
  }
  if (!callerIdentity.test(regional_cred_verification_url ?? '')) {
    throw new Error(
      'its credential_source.regional_cred_verification_url is not GetCallerIdentity of sts.{region}.amazonaws.com',
    );
  }
  const sourceUrls = Object.values(asked).filter((one) => one !== undefined);
  const settings = { environment_id, ...asked, regional_cred_verification_url };
  return { source: 'aws', sourceUrls, settings };
}
