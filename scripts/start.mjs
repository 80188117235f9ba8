// npm start                         a demonstration: the proxy in front of a registry in memory
// npm start -- --port 5051          the same on another port
// npm start -- --config FILE        the proxy with your configuration
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, installPackages, requireNode, root } from './prepare.mjs';

const args = process.argv.slice(2);

requireNode();
installPackages();
build();

const isDemonstration = args.every((arg, i) => /^--port(=|$)/.test(arg) || args[i - 1] === '--port');
const program = join(root, 'dist/bin', isDemonstration ? 'demo.js' : 'docker-registry-proxy.js');
process.argv = [process.execPath, program, ...(isDemonstration ? [] : ['serve']), ...args];
// npm runs scripts in the checkout; a relative file name counts from where the user stands.
process.chdir(process.env.INIT_CWD ?? process.cwd());
// In this process, so that a signal to it is a signal to the program.
await import(pathToFileURL(program).href);
