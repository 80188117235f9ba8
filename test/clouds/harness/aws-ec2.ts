import type { AwsIdentities } from './aws-identities.js';
import type { Refusal } from './sigv4.js';
import type { Exchange, World } from './world.js';

export interface Ec2Instance {
  readonly instanceId: string;
  ownerId: string;
  imageId: string;
  state: string;
}

export interface Ec2 {
  readonly host: string;
  readonly instances: Ec2Instance[];
  /** The instances that were asked about, in order, by ARNs. */
  readonly asked: { readonly instanceId: string; readonly by: string }[];
  /** What the next requests are answered instead. */
  fault: { readonly status: number; readonly code?: string; readonly text?: string } | undefined;
}

const refusals: Readonly<Record<Refusal, readonly [status: number, code: string]>> = {
  unsigned: [400, 'MissingAuthenticationToken'],
  'unknown key': [401, 'AuthFailure'],
  'wrong token': [401, 'AuthFailure'],
  'expired token': [400, 'RequestExpired'],
  skewed: [400, 'RequestExpired'],
  'wrong signature': [401, 'AuthFailure'],
};

/** The API of Amazon EC2 in one region: forms in, XML out. Who asks sees the instances of their own account. */
export function startEc2(world: World, identities: AwsIdentities, region: string): Ec2 {
  const ec2: Ec2 = {
    ...{ host: `ec2.${region}.amazonaws.com`, instances: [], asked: [], fault: undefined },
  };
  world.host(ec2.host, async (exchange) => {
    const body = await exchange.readText();
    const form = new URLSearchParams(body);
    const instanceId = form.get('InstanceId.1') ?? '';
    const verdict = identities.verify(exchange, body, { service: 'ec2', region });
    if ('refused' in verdict) return fail(exchange, ...refusals[verdict.refused]);
    const { arn } = verdict.keys;
    ec2.asked.push({ instanceId, by: arn });
    if (ec2.fault?.text !== undefined) return xml(exchange, ec2.fault.status, ec2.fault.text);
    if (ec2.fault !== undefined) return fail(exchange, ec2.fault.status, ec2.fault.code ?? 'InternalError');
    const { method, headers } = exchange.record;
    const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true;
    if (method !== 'POST' || !isForm || form.get('Version') !== '2016-11-15') {
      return fail(exchange, 400, 'InvalidRequest');
    }
    if (form.get('Action') !== 'DescribeInstances') return fail(exchange, 400, 'InvalidAction');
    if (!/^i-[0-9a-f]+$/.test(instanceId)) return fail(exchange, 400, 'InvalidInstanceID.Malformed');
    if (identities.forbidden.has(`${arn} ec2:DescribeInstances`)) {
      const message = `You are not authorized to perform this operation. User: ${arn} is not authorized to perform: ec2:DescribeInstances because no identity-based policy allows it`;
      return fail(exchange, 403, 'UnauthorizedOperation', message);
    }
    const [, , , , account] = arn.split(':');
    const found = ec2.instances.find((one) => one.instanceId === instanceId && isSeen(one, account));
    if (found === undefined) return fail(exchange, 400, 'InvalidInstanceID.NotFound');
    return xml(exchange, 200, described(found));
  });
  return ec2;
}

/** An owner that is no account is of a test that wants to be told something odd. */
function isSeen({ ownerId }: Ec2Instance, account: string | undefined): boolean {
  return ownerId === account || ownerId.startsWith('9999');
}

/** With what EC2 tells beside: tags are anybody's text. */
export function described({ instanceId, ownerId, imageId, state }: Ec2Instance): string {
  const tag = '<tagSet><item><key>Name</key><value>web &amp; &lt;instanceState&gt;</value></item></tagSet>';
  const instance =
    `<item><instanceId>${instanceId}</instanceId><imageId>${imageId}</imageId>` +
    `<instanceState><code>16</code><name>${state}</name></instanceState><privateDnsName/>` +
    `<placement><availabilityZone>eu-west-1b</availabilityZone><groupName/></placement>${tag}</item>`;
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">\n' +
    '    <requestId>8f7724cf-496f-496e-8fe3-example</requestId>\n' +
    `    <reservationSet>\n<item><reservationId>r-1234567890abcdef0</reservationId><ownerId>${ownerId}</ownerId>` +
    `<groupSet/><instancesSet>${instance}</instancesSet></item></reservationSet>\n</DescribeInstancesResponse>`
  );
}

function fail(exchange: Exchange, status: number, code: string, message = 'no'): void {
  const error = `<Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors>`;
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Response>${error}<RequestID>1</RequestID></Response>`;
  xml(exchange, status, text);
}

function xml(exchange: Exchange, status: number, text: string): void {
  exchange.text(status, text, { 'content-type': 'text/xml;charset=UTF-8' });
}
