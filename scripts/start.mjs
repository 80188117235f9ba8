// npm start                         a demo: the proxy in front of a registry in memory
// npm start -- --config FILE        the proxy with your configuration
import { join } from 'node:path';
import { build, installPackages, requireNode, root } from './prepare.mjs';
import { runNode } from './run-node.mjs';

const args = process.argv.slice(2);

requireNode();
installPackages();
build();
if (args.length === 0) runNode([join(root, 'dist/bin/demo.js')]);
// npm runs scripts in the checkout; a relative file name counts from where the user stands.
else {
  runNode([join(root, 'dist/bin/docker-registry-proxy.js'), 'serve', ...args], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
  });
}
