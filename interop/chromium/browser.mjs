// Chromium, headless, with a page of ours. Node's standard library is all it needs.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

export const options = more => parseArgs({
  allowPositionals: true,
  options: {
    chromium: { type: "string", default: process.env.CHROMIUM ?? "chromium" },
    // Candidates as browsers send them by default: a name under .local in place of the address. Not with sound, for
    // the microphone cannot be had then.
    mdns: { type: "boolean", default: false },
    ...more,
  },
});

// The page and its scripts, for the routes of a server.
const files = new URL("page/", import.meta.url);
export const page = Object.fromEntries(readdirSync(files).map(name => [`GET /${name}`, (_, response) => {
  const type = name.endsWith(".html") ? "text/html" : "text/javascript";
  response.writeHead(200, { "Content-Type": type });
  response.end(readFileSync(new URL(name, files)));
}]));

// Opens a page. `end` ends the browser and removes its profile; `gone` is called if it ends by itself.
export function open(chromium, url, { mdns }, gone) {
  const profile = mkdtempSync(join(tmpdir(), "visavis-chromium-"));
  const child = spawn(chromium, [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run",
    "--use-fake-device-for-media-stream=fps=30",
    "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-background-networking",
    // Whoever may use the microphone may see addresses; nobody is there to allow it otherwise.
    ...(mdns ? [] : ["--use-fake-ui-for-media-stream", "--disable-features=WebRtcHideLocalIpsWithMdns"]),
    `--user-data-dir=${profile}`, url,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", part => { said = (said + part).slice(-2000); });
  let ended = false;
  const exited = new Promise(resolve => {
    child.on("error", error => { resolve(); gone(`${chromium}: ${error.message}`); });
    child.on("exit", code => { resolve(); if (!ended) gone(`${chromium} exited with ${code}: ${said}`); });
  });
  return async () => {
    ended = true;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
    await exited;
    clearTimeout(timer);
    // Its helper processes may still write for a moment.
    for (let left = 20; left > 0; left -= 1) {
      try {
        return rmSync(profile, { recursive: true, force: true });
      } catch {
        await new Promise(done => setTimeout(done, 100));
      }
    }
  };
}
