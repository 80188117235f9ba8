import type { ConfiguredDriver } from '../configuration.js';
import type { ImageRuleSetting } from './configuration.js';
import type { ImageServiceSettings } from './schema.js';

/** @param sourceAt of the setting that chooses it, such as `images[0].credentials`; undefined where there is none */
export function ruleSettings(
  images: ImageServiceSettings['images'],
  sourceAt: (setting: string) => ConfiguredDriver<'credential-source'> | undefined,
): readonly ImageRuleSetting[] {
  const seen = new Map<string, number>();
  return images.map(({ match, namespaces, annotations, podIdentity }, i) => {
    const setting = `images[${i}]`;
    const place = `${setting}.credentials`;
    const source = sourceAt(place);
    const count = (seen.get(match.text) ?? 0) + 1;
    seen.set(match.text, count);
    return {
      setting,
      name: count === 1 ? match.text : `${match.text} #${count}`,
      match,
      ...(namespaces && { namespaces }),
      ...(annotations && { annotations: new Map(Object.entries(annotations)) }),
      ...(source && { credential: { setting: place, source } }),
      ...(podIdentity && { podIdentity }),
    };
  });
}
