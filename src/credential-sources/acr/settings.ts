import { z } from 'zod';
import { isGuid } from '../../reference/guid.js';
import { readableFile } from '../../settings/file-path.js';
import { registryHostName } from '../../settings/registry-host-name.js';
import { secretSource } from '../../settings/secret-source.js';
import { secureUrl } from '../../settings/secure-url.js';
import { serverKeys } from '../../settings/server-keys.js';

/** A directory's GUID, or one of its domains. */
export const isTenant = (text: string) => /^[0-9A-Za-z](?:[0-9A-Za-z.-]{0,252}[0-9A-Za-z])?$/.test(text);

const expectedTenant = "expected the tenant's ID, or one of its domains such as contoso.onmicrosoft.com";
const expectedClientId = 'expected a client ID such as 11111111-2222-3333-4444-555555555555';

export const acrSettings = z
  .strictObject({
    identity: z
      .enum(['managed', 'federated', 'secret'])
      .optional()
      .describe(
        '`managed`: the one Azure gave this machine or app. `federated`: an application that trusts the token in a file, as ' +
          'with AKS workload identity. `secret`: an application with `clientSecret`. Where it is missing: `secret` with ' +
          '`clientSecret`, `federated` with `tokenFile` or AZURE_FEDERATED_TOKEN_FILE, otherwise `managed`.',
      ),
    clientId: z
      .string({ error: expectedClientId })
      .refine(isGuid, expectedClientId)
      .optional()
      .describe(
        'The application, or the user-assigned managed identity. For `federated`, AZURE_CLIENT_ID where it is missing.',
      ),
    tenant: z
      .string({ error: expectedTenant })
      .refine(isTenant, expectedTenant)
      .optional()
      .describe("The application's tenant. For `federated`, AZURE_TENANT_ID where it is missing."),
    clientSecret: secretSource().optional().describe('The value of a secret of the application.'),
    tokenFile: readableFile()
      .optional()
      .describe(
        'A file with a token that a federated credential of the application trusts; read again for each use. ' +
          'AZURE_FEDERATED_TOKEN_FILE where it is missing.',
      ),
    authority: secureUrl()
      .optional()
      .describe(
        'Where applications get tokens: `https://login.microsoftonline.com`, for `federated` AZURE_AUTHORITY_HOST, where it ' +
          'is missing. `https://login.microsoftonline.us` and `https://login.chinacloudapi.cn` in sovereign clouds.',
      ),
    audience: secureUrl()
      .refine((text) => !text.endsWith('/'), 'expected a URL without a slash at its end')
      .default('https://containerregistry.azure.net')
      .describe(
        'What tokens are asked for. Every registry takes the default; `https://management.azure.com` gives tokens that ' +
          'may do far more than this needs.',
      ),
    registryHosts: z
      .array(registryHostName())
      .default([])
      .describe(
        'Hosts that tokens may be sent to although their names are not `*.azurecr.io` or its like: clouds with names of their own.',
      ),
    ...serverKeys,
  })
  .refine(({ clientSecret, tokenFile }) => clientSecret === undefined || tokenFile === undefined, {
    path: ['tokenFile'],
    error: 'cannot stand beside clientSecret: an application shows one of them',
  })
  .refine((one) => one.clientSecret === undefined || one.tenant !== undefined, {
    path: ['tenant'],
    error: 'is missing: clientSecret needs tenant and clientId',
  })
  .refine((one) => one.clientSecret === undefined || one.clientId !== undefined, {
    path: ['clientId'],
    error: 'is missing: clientSecret needs tenant and clientId',
  })
  .refine(({ identity, clientSecret }) => identity !== 'secret' || clientSecret !== undefined, {
    path: ['clientSecret'],
    error: 'is missing: identity is secret',
  })
  .refine(
    ({ identity, clientSecret }) =>
      identity === undefined || identity === 'secret' || clientSecret === undefined,
    { path: ['clientSecret'], error: 'stands beside another kind of identity' },
  )
  .refine(
    ({ identity, tokenFile, tenant }) =>
      identity !== 'managed' || (tokenFile === undefined && tenant === undefined),
    {
      path: ['identity'],
      error: 'a managed identity has neither tokenFile nor tenant: Azure knows them',
    },
  );

export type AcrSettings = z.output<typeof acrSettings>;
