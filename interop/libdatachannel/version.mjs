// Prints what is installed, for interop/run.

import { createRequire } from "node:module";

const rtc = await import("node-datachannel").then(({ default: all }) => all, error => {
  console.error(`Error: node-datachannel: ${error.code}`);
  process.exit(1);
});
const { version } = createRequire(import.meta.url)("./node_modules/node-datachannel/package.json");
console.log(`${rtc.getLibraryVersion()} with node-datachannel ${version}`);
process.exit(0);
