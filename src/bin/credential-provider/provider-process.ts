import type { AllowedCode } from '../../config/image-service/allowed-code.js';
import type { CommandProcess } from '../command-process.js';

/** What a process is to this command. */
export interface ProviderProcess extends CommandProcess {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: { write(text: string, done?: () => void): unknown };
  /** Absent: it ends by itself. */
  readonly exit?: (code: number) => void;
}

/** Of the command line. */
export interface ProviderOptions {
  readonly config: string;
  readonly allow?: AllowedCode;
  readonly audience?: string;
  readonly printConfig?: boolean;
  readonly printRbac?: boolean;
  readonly binDir: string;
  readonly withoutTokens?: boolean;
}
