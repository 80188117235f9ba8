/** What a process is to a command. */
export interface CommandProcess {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  /** Where a command has an answer that is no failure, but not the wanted one either. */
  exitCode?: number | string | null | undefined;
}
