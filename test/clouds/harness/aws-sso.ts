import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AwsHouse, region } from './aws-house.js';
import { owner } from './aws-identities.js';

const startUrl = 'https://example.awsapps.com/start';

/**
 * IAM Identity Center with one session, as `aws sso login` left it in this process's home, and the profile `sso`.
 *
 * @param lifetime of the session, milliseconds
 * @returns whose credentials it gives
 */
export function startSso(t: TestContext, house: AwsHouse, lifetime: number): string {
  const arn = `arn:aws:sts::${owner}:assumed-role/sso/alice`;
  const accessToken = 'sso-access-token-0123456789';
  house.identities.secrets.push(accessToken);
  house.world.host(`portal.sso.${region}.amazonaws.com`, ({ url, record, json }) => {
    if (record.headers['x-amz-sso_bearer_token'] !== accessToken) {
      const type = { 'x-amzn-errortype': 'UnauthorizedException' };
      return json(401, { message: 'Session token not found or invalid' }, type);
    }
    const { role_name: role, account_id: account } = Object.fromEntries(url.searchParams);
    if (url.pathname !== '/federation/credentials' || role !== 'pull' || account !== owner)
      return json(404, {});
    const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = house.identities.session(arn);
    return json(200, {
      roleCredentials: { accessKeyId, secretAccessKey, sessionToken, expiration: expiresAt },
    });
  });
  const lines = [
    `sso_start_url = ${startUrl}`,
    `sso_region = ${region}`,
    `sso_account_id = ${owner}`,
    'sso_role_name = pull',
  ];
  house.file('aws-config', `[profile sso]\n${lines.join('\n')}\n`);
  const home = process.env.HOME;
  t.after(() => {
    process.env.HOME = home;
  });
  process.env.HOME = house.directory;
  const cache = join(house.directory, '.aws/sso/cache');
  mkdirSync(cache, { recursive: true });
  const name = createHash('sha1').update(startUrl).digest('hex');
  const cached = { accessToken, expiresAt: new Date(Date.now() + lifetime).toISOString(), region, startUrl };
  writeFileSync(join(cache, `${name}.json`), JSON.stringify(cached));
  return arn;
}
