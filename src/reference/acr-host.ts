/** The domains of Azure's clouds: public, China, US Government, and the two closed ones of the US. Germany's is gone. */
const domains = [
  'azurecr.io',
  'azurecr.cn',
  'azurecr.us',
  'azurecr.eaglex.ic.gov',
  'azurecr.microsoft.scloud',
];

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

/** Whole and without a port: a suffix alone would take `evil-azurecr.io` or `x.azurecr.io:8443` (threat 9). */
const grammar = new RegExp(
  `^${label}(?:\\.[a-z0-9]{1,63}\\.geo)?\\.(?:${domains.join('|').replaceAll('.', '\\.')})$`,
);

/**
 * True for the host of a registry, in lower case, that Azure alone can answer at: `contoso.azurecr.io`, and the endpoint
 * of one region, `contoso.westeurope.geo.azurecr.io`. Data endpoints (`….data.azurecr.io`) are none.
 */
export function isAcrHost(host: string): boolean {
  return grammar.test(host);
}
