/** An element of XML. Its text is as it was written: none that counts here has an entity in it. */
export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  readonly text: string;
}

/** One sentence, without content. */
export class XmlError extends Error {
  override readonly name = 'XmlError';
}

const maxDepth = 32;
const maxElements = 20_000;
const token = /<(?<tag>[^<>]*)>|(?<text>[^<]+)/y;
const opening =
  /^(?<name>[A-Za-z_][\w:.-]{0,127})(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(?<empty>\/?)$/;

interface Open {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

/**
 * The plain XML that services of AWS answer in: elements and texts. Whatever else XML may hold (document types,
 * comments, CDATA) is an error, and so is a document that is deep or has very many elements.
 *
 * @throws XmlError
 */
export function readXml(document: string): XmlElement {
  const text = document.replace(/^\uFEFF?\s*(?:<\?xml[^<>]*\?>)?\s*/, '').trimEnd();
  const root: Open = { name: '', children: [], text: '' };
  const open: Open[] = [root];
  let elements = 0;
  token.lastIndex = 0;
  while (token.lastIndex < text.length) {
    const found = token.exec(text)?.groups;
    if (found === undefined) throw new XmlError('it is no XML');
    const inner = open.at(-1) ?? root;
    if (found.tag === undefined) {
      inner.text += found.text ?? '';
      continue;
    }
    if (found.tag.startsWith('/')) {
      if (open.length === 1 || found.tag.slice(1).trimEnd() !== inner.name)
        throw new XmlError('its tags do not match');
      open.pop();
      continue;
    }
    const { name, empty } = opening.exec(found.tag)?.groups ?? {};
    if (name === undefined) throw new XmlError('it holds more than elements and texts');
    if (++elements > maxElements) throw new XmlError('it has too many elements');
    const element: Open = { name, children: [], text: '' };
    inner.children.push(element);
    if (empty === '') open.push(element);
    if (open.length > maxDepth) throw new XmlError('it is too deep');
  }
  const [only, ...more] = root.children;
  if (open.length > 1 || only === undefined || more.length > 0 || root.text.trim() !== '') {
    throw new XmlError('it is not one element');
  }
  return only;
}

/** @returns the child of this name. @throws XmlError where there is none, or more than one */
export function childOf(element: XmlElement, name: string): XmlElement {
  const [only, ...more] = element.children.filter((child) => child.name === name);
  if (only === undefined || more.length > 0) throw new XmlError(`it has not one ${name} in ${element.name}`);
  return only;
}
