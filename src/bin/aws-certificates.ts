import { readFile, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { HttpCaller } from '../outgoing/http-caller.js';
import { FilePath } from '../settings/file-path.js';
import { proxyUrl } from '../settings/proxy-url.js';
import { isSecureUrl } from '../settings/secure-url.js';
import { CertificateDirectory } from './aws-certificates/certificate-directory.js';
import { type RegionsPage, RegionsPageError, readRegionsPage } from './aws-certificates/regions-page.js';
import { CommandFailure } from './command-failure.js';
import type { CommandProcess } from './command-process.js';
import { exitCodes } from './exit.js';
import { QuestionError } from './question-error.js';
import { textTable } from './text-table.js';

/** The page as Markdown; without `.md` it is HTML, which is read as well. */
const page = 'https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/regions-certs.md';
/** Milliseconds. */
const patience = 30_000;
/** Bytes; the page has about 200 KB. */
const maxPage = 8 * 1024 * 1024;

interface Options {
  readonly from: string;
  readonly to: string;
  readonly ca?: string;
  readonly proxy?: string;
}

/** Adds `aws-certificates`, which makes the directory that the verifier `aws-identity` is given. */
export function addAwsCertificatesCommand(program: Command, own: CommandProcess = process): void {
  program
    .command('aws-certificates')
    .description(
      "write the certificates that AWS signs instance identity documents with, one file a region, from AWS's page of them; exits with 1 where the page lists none",
    )
    .requiredOption(
      '--from <file or url>',
      'the page `regions-certs` of the EC2 user guide, Markdown or HTML',
    )
    .requiredOption(
      '--to <directory>',
      'where to write REGION.pem; made where it is absent, nothing is deleted',
    )
    .option('--ca <file>', 'PEM certificates to trust for the URL beside the usual roots')
    .option('--proxy <url>', 'an HTTP(S) proxy to reach the URL through')
    .addHelpText(
      'after',
      `\nExample:\n  docker-registry-proxy aws-certificates --from ${page} \\\n    --to /etc/docker-registry-proxy/aws-certificates`,
    )
    .action((options: Options) => writeCertificates(options, own));
}

async function writeCertificates(options: Options, { stdout, stderr }: CommandProcess): Promise<void> {
  const { from, to } = options;
  const text = await pageText(options);
  const { certificates, without } = readPage(text, from);
  const rows = [['REGION', 'ENDS', 'FILE', 'SHA-256']];
  try {
    const directory = await CertificateDirectory.open(to);
    for (const [region, all] of [...certificates].sort(([one], [other]) => (one < other ? -1 : 1))) {
      const change = await directory.put(region, all);
      for (const { validTo, fingerprint256 } of all) {
        rows.push([
          region,
          new Date(validTo).toISOString().slice(0, 10),
          change,
          fingerprint256.replaceAll(':', ''),
        ]);
      }
    }
  } catch (error) {
    throw new CommandFailure(`cannot write to ${to}: ${(error as Error).message}`, exitCodes.failed);
  }
  stdout.write(textTable(rows));
  if (without.length > 0) {
    stderr.write(`warning: ${from} lists no RSA-2048 certificate of ${without.join(', ')}\n`);
  }
}

function readPage(text: string, from: string): RegionsPage {
  try {
    return readRegionsPage(text);
  } catch (error) {
    if (!(error instanceof RegionsPageError)) throw error;
    throw new CommandFailure(`${from}: ${error.message}; is it the page ${page}?`, exitCodes.failed);
  }
}

/** @throws QuestionError; RegistryError UNAVAILABLE where there is no answer */
async function pageText({ from, ca, proxy }: Options): Promise<string> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(from)) return fetchedText(from, { ca, proxy });
  const unreadable = (error: NodeJS.ErrnoException) => {
    throw new CommandFailure(`cannot read ${from}: ${error.code}`, exitCodes.usage);
  };
  const { size } = await stat(from).catch(unreadable);
  if (size > maxPage) {
    throw new CommandFailure(`${from} is over ${maxPage} bytes: is it the page ${page}?`, exitCodes.failed);
  }
  return readFile(from, 'utf8').catch(unreadable);
}

async function fetchedText(
  from: string,
  { ca, proxy }: { readonly ca: string | undefined; readonly proxy: string | undefined },
): Promise<string> {
  // What comes from there is trusted to name machines.
  if (!isSecureUrl(from))
    throw new QuestionError('--from: expected a file, or an https URL without credentials');
  const through = proxy === undefined ? undefined : proxyUrl().safeParse(proxy);
  if (through?.success === false) throw new QuestionError(`--proxy: ${through.error.issues[0]?.message}`);
  const settings = { ca: ca === undefined ? undefined : new FilePath(ca, 'file'), proxy: through?.data };
  const caller = await HttpCaller.open({ ...settings, timeout: patience }, process.cwd());
  try {
    const { status, text } = await caller.call({
      url: new URL(from),
      headers: { accept: 'text/markdown, text/html, */*' },
      signal: AbortSignal.timeout(patience),
    });
    if (status === 200) return text;
    const hint = status >= 300 && status < 400 ? '; redirects are not followed' : '';
    throw new CommandFailure(`${from} answered ${status}${hint}`, exitCodes.failed);
  } finally {
    await caller.close();
  }
}
