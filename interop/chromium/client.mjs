// Chromium as the offering client: `client.mjs URL [--video h264|vp8] [--audio] [--no-data]`. Prints one JSON line.
//
// `--renegotiate` adds and drops video in one call, in each way a page can; the server must say with its answer where
// later offers go. `--reload` loads the page anew in mid-call; the server must list its callers at /stats.

import { body, exchange, json, keep, offerUrl, serve } from "../http.mjs";
import { open, options, page } from "./browser.mjs";

// A caller who is gone is listed no longer than this, in seconds.
const PATIENCE = 30;

const { values, positionals: [url] } = options({
  video: { type: "string" },
  audio: { type: "boolean", default: false },
  "no-data": { type: "boolean", default: false },
  renegotiate: { type: "boolean", default: false },
  reload: { type: "boolean", default: false },
  duration: { type: "string", default: "3" },
  timeout: { type: "string", default: "10" },
});
const timeout = Number(values.timeout);
const target = offerUrl(url);

async function callers() {
  const response = await fetch(new URL("stats", target), { signal: AbortSignal.timeout(5000) });
  return (await response.json()).callers.map(({ id }) => id);
}

// How long a caller is listed whose page is gone; null if for longer than is waited.
async function untilGone(ids) {
  const began = performance.now();
  while (performance.now() - began < PATIENCE * 1000) {
    const present = await callers();
    if (!ids.some(id => present.includes(id))) return Math.round(performance.now() - began);
    await new Promise(done => setTimeout(done, 20));
  }
  return null;
}

let again; // where later offers of the call go
let gone; // how long the caller before the reload was listed
let finish;
const finished = new Promise(resolve => { finish = resolve; });
// The page may call only its own server, so its offers are passed on.
const pass = to => async (request, response) => {
  try {
    const offer = JSON.parse(await body(request));
    keep("chromium", offer);
    if (!to()) throw new Error("the server's answer has no Location for later offers");
    const { answer, again: next } = await exchange(to(), offer, timeout);
    again = next ?? again;
    json(response, 200, answer);
  } catch (error) {
    json(response, 502, { error: error.cause?.message ?? error.message });
  }
};
const own = await serve({
  ...page,
  "POST /offer": pass(() => target),
  "POST /again": pass(() => again),
  "POST /reloading": async (_, response) => {
    const present = await callers();
    json(response, 200, {});
    gone = untilGone(present);
    gone.catch(error => failed(`the callers are not known: ${error.message}`));
  },
  "POST /result": async (request, response) => {
    finish(JSON.parse(await body(request)));
    json(response, 200, {});
  },
});
const failed = reason => finish({ ok: false, peer: "chromium", failed_step: "browser", reason });
const wishes = new URLSearchParams({ role: "client", duration: values.duration, timeout: values.timeout });
if (values.video) wishes.set("video", values.video);
if (values.audio) wishes.set("audio", "1");
if (values["no-data"]) wishes.set("data", "0");
if (values.renegotiate) wishes.set("mode", "renegotiate");
if (values.reload) wishes.set("mode", "reload");
const end = open(values.chromium, `${own}/index.html?${wishes}`, values, failed);
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => failed("it was ended"));
// Renegotiation has seven steps, and a reload two calls.
const calls = values.renegotiate ? 7 : values.reload ? 2 : 1;
const limit = 20 + calls * (5 * timeout + Number(values.duration));
const timer = setTimeout(() => failed(`the page said nothing within ${limit} s`), limit * 1000);
let result = await finished;
clearTimeout(timer);
if (gone && result.ok) {
  result.old_gone_ms = await gone;
  if (result.old_gone_ms === null) {
    const reason = `the caller of the page before is still there after ${PATIENCE} s`;
    result = { ...result, ok: false, failed_step: "reload", reason };
  }
}
await end();
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
