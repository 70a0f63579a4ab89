// Chromium as the offering client: `client.mjs URL [--video h264|vp8] [--audio] [--no-data]`. Prints one JSON line.

import { body, exchange, json, keep, serve } from "../http.mjs";
import { open, options, page } from "./browser.mjs";

const { values, positionals: [url] } = options({
  video: { type: "string" },
  audio: { type: "boolean", default: false },
  "no-data": { type: "boolean", default: false },
  duration: { type: "string", default: "3" },
  timeout: { type: "string", default: "10" },
});
const what = [values.video, values.audio && "audio", !values["no-data"] && "data", values.mdns && "mdns"]
  .filter(Boolean).join("-");
const timeout = Number(values.timeout);

let finish;
const finished = new Promise(resolve => { finish = resolve; });
const own = await serve({
  // The page may call only its own server, so its offer is passed on.
  ...page,
  // The page may call only its own server, so its offer is passed on.
  "POST /offer": async (request, response) => {
    try {
      const offer = JSON.parse(await body(request));
      keep(`chromium-offer-${what}`, offer);
      json(response, 200, await exchange(url, offer, timeout));
    } catch (error) {
      json(response, 502, { error: error.cause?.message ?? error.message });
    }
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
const end = open(values.chromium, `${own}/page.html?${wishes}`, values, failed);
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => failed("it was ended"));
const limit = 20 + 5 * timeout + Number(values.duration);
const timer = setTimeout(() => failed(`the page said nothing within ${limit} s`), limit * 1000);
const result = await finished;
clearTimeout(timer);
await end();
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
