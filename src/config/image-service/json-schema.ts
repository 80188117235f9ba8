import { driverApiVersion } from '../../contracts/driver.js';
import { builtInDrivers } from '../../plugins/built-in.js';
import type { DriverMap } from '../../plugins/driver-map.js';
import { driverSettings, entrySchema, type JsonSchema, printSchema } from '../json-schema.js';
import { imageServiceSchema } from './schema.js';

/** The own settings of `kubelet-image-service`; entries that hold a driver allow any further keys here. */
export function imageServiceCoreSchema(): JsonSchema {
  return printSchema(imageServiceSchema);
}

/** A JSON Schema of the whole configuration file for editors, with the settings of every driver. */
export async function imageServiceJsonSchema(drivers: DriverMap = builtInDrivers): Promise<JsonSchema> {
  const core = imageServiceCoreSchema();
  const { runtime = {}, images = {} } = core.properties ?? {};
  const rule = images.items ?? {};
  const credentials = entrySchema(
    rule.properties?.credentials ?? {},
    // Nobody chooses a type for the rule as a registry does for an upstream.
    (await driverSettings('credential-source', drivers)).map((one) => ({ ...one, isDefault: false })),
  );
  const items = { ...rule, properties: { ...rule.properties, credentials } };
  return {
    ...core,
    title: `kubelet-image-service configuration (drivers' API version ${driverApiVersion})`,
    properties: {
      ...core.properties,
      runtime: entrySchema(runtime, await driverSettings('runtime', drivers)),
      images: { ...images, items },
    },
  };
}
