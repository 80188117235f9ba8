import { childOf, readXml, type XmlElement, XmlError } from './xml-element.js';

/** What EC2 says of an instance. */
export interface KnownInstance {
  /** The account. */
  readonly ownerId: string;
  readonly imageId: string;
  /** `pending`, `running`, `shutting-down`, `terminated`, `stopping` or `stopped`. */
  readonly state: string;
}

/**
 * The answer to DescribeInstances for one instance (Amazon EC2 API reference).
 *
 * @returns undefined where it lists none
 * @throws XmlError for anything else, also for another instance than was asked for
 */
export function readInstance(text: string, instanceId: string): KnownInstance | undefined {
  const root = readXml(text);
  if (root.name !== 'DescribeInstancesResponse') throw new XmlError('it is another answer');
  const reservations = childOf(root, 'reservationSet');
  if (reservations.children.length === 0) return undefined;
  const reservation = childOf(reservations, 'item');
  const instance = childOf(childOf(reservation, 'instancesSet'), 'item');
  if (textOf(instance, 'instanceId') !== instanceId) throw new XmlError('it is about another instance');
  return {
    ownerId: textOf(reservation, 'ownerId'),
    imageId: textOf(instance, 'imageId'),
    state: textOf(childOf(instance, 'instanceState'), 'name'),
  };
}

/** The name of an error of EC2: `InvalidInstanceID.NotFound`. Its message may quote what was asked. */
export function readErrorCode(text: string): { readonly code: string; readonly message: string } | undefined {
  try {
    const root = readXml(text);
    const error = childOf(childOf(root, 'Errors'), 'Error');
    const code = textOf(error, 'Code');
    const message = childOf(error, 'Message').text;
    return /^[\w.]{1,128}$/.test(code) ? { code, message } : undefined;
  } catch (error) {
    if (error instanceof XmlError) return undefined;
    throw error;
  }
}

/** @throws XmlError where it is no short word */
function textOf(element: XmlElement, name: string): string {
  const { text, children } = childOf(element, name);
  if (children.length > 0 || !/^[\w.:-]{1,128}$/.test(text)) throw new XmlError(`its ${name} is no word`);
  return text;
}
