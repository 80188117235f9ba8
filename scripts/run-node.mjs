import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { root } from './prepare.mjs';

/**
 * Runs this Node.js with `args` in the checkout, passes SIGINT and SIGTERM on, and ends this process as the child
 * ended: with its exit code, or 128 + n after signal n as shells do.
 */
export function runNode(args, { cwd = root } = {}) {
  const child = spawn(process.execPath, args, { cwd, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself, and a second SIGINT may mean "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  child.on('close', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
}
