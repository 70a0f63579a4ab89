// Chromium as an echo server: `server.mjs [--port N]`. POST /offer goes to a page that asks for it; GET /stats; ends on
// SIGTERM.

import { body, json, keep, offerOf, serve } from "../http.mjs";
import { open, options, page } from "./browser.mjs";

const PATIENCE = 10_000;
const { values } = options({ port: { type: "string", default: "0" } });

const offers = [];
const waiting = new Map();
let ask = null; // the page's request for an offer, if it waits for one
let stats = [];
let ready;
const asked = new Promise(resolve => { ready = resolve; });

function hand() {
  if (!ask || !offers.length) return;
  json(ask, 200, offers.shift());
  ask = null;
}

let ids = 0;
const url = await serve({
  ...page,
  "POST /offer": async (request, response) => {
    const offer = await offerOf(request);
    const id = ids++;
    const timer = setTimeout(() => waiting.get(id)?.({ error: "the page did not answer" }), PATIENCE);
    waiting.set(id, ({ answer, error }) => {
      clearTimeout(timer);
      waiting.delete(id);
      if (answer) keep("chromium", answer, offer);
      json(response, answer ? 200 : 400, answer ?? { error });
    });
    offers.push({ id, offer });
    hand();
  },
  "GET /next": (_, response) => {
    ready();
    ask = response;
    const timer = setTimeout(() => {
      if (ask !== response) return;
      ask = null;
      response.writeHead(204).end();
    }, PATIENCE);
    response.on("close", () => clearTimeout(timer));
    hand();
  },
  "POST /answer": async (request, response) => {
    const said = JSON.parse(await body(request));
    waiting.get(said.id)?.(said);
    json(response, 200, {});
  },
  "POST /stats": async (request, response) => {
    stats = JSON.parse(await body(request));
    json(response, 200, {});
  },
  "GET /stats": (_, response) => json(response, 200, { callers: stats }),
}, Number(values.port));

const fail = reason => {
  console.error(reason);
  process.exit(1);
};
const end = open(values.chromium, `${url}/index.html?role=server`, values, fail);
const quit = async () => {
  await end();
  process.exit(0);
};
process.on("SIGTERM", quit);
process.on("SIGINT", quit);
const timer = setTimeout(() => end().then(() => fail("the page did not load within 20 s")), 20_000);
await asked;
clearTimeout(timer);
console.log(JSON.stringify({ listening: url }));
