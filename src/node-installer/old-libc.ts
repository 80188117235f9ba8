/** The first releases with glibc 2.28, which the executable needs. */
const firstReleases: Readonly<Record<string, string>> = {
  amzn: '2023',
  rhel: '8',
  centos: '8',
  ol: '8',
  rocky: '8',
  almalinux: '8',
  ubuntu: '18.10',
  debian: '10',
  fedora: '29',
  sles: '15.3',
  'opensuse-leap': '15.3',
};

/** Distributions of musl. */
const musl = ['alpine', 'postmarketos', 'void-musl', 'chimera', 'openwrt'];

/** @returns why the executable cannot run here, as far as os-release(5) tells; the executable itself is asked later */
export function oldLibc(osRelease: ReadonlyMap<string, string>): string | undefined {
  const id = osRelease.get('ID') ?? '';
  const title = osRelease.get('PRETTY_NAME') ?? id;
  const instead = 'take a newer node image, or use docker-registry-proxy as a registry or a mirror instead';
  const families = [id, ...(osRelease.get('ID_LIKE') ?? '').split(/\s+/)];
  if (families.some((family) => musl.includes(family))) {
    return `${title}: it has no glibc, which the executable needs; ${instead}`;
  }
  const first = firstReleases[id];
  const version = osRelease.get('VERSION_ID');
  if (first === undefined || version === undefined || !isBefore(version, first)) return undefined;
  return `${title}: its glibc is older than 2.28, which the executable needs; ${instead}`;
}

function isBefore(version: string, first: string): boolean {
  const wanted = first.split('.').map(Number);
  const present = version.split('.').map(Number);
  const at = wanted.findIndex((part, index) => (present[index] ?? 0) !== part);
  return at >= 0 && (present[at] ?? 0) < (wanted[at] ?? 0);
}
