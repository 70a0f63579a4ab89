// A small HTTP server for the peers that run in Node.

import { createServer } from "node:http";
import { mkdirSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";

const LONGEST_BODY = 256 * 1024;

export async function body(request) {
  let text = "";
  for await (const part of request) {
    text += part;
    if (text.length > LONGEST_BODY) throw new Error("the body is too long");
  }
  return text;
}

export function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

// `routes` has handlers by "METHOD /path". Resolves to the URL.
export function serve(routes, port = 0) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const handle = routes[`${request.method} ${pathname}`];
    if (!handle) return json(response, 404, { error: "there is no such page" });
    try {
      await handle(request, response);
    } catch (error) {
      if (!response.headersSent) json(response, 400, { error: String(error.message ?? error) });
    }
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

// What a description has, in words for a file's name.
function kinds(sdp) {
  const words = sdp.split(/^(?=m=)/m).slice(1).map(section => {
    const [, kind, port, first] = /^m=(\w+) (\d+) \S+ (\S+)/.exec(section);
    const [, codec] = new RegExp(`^a=rtpmap:${first} (\\w+)`, "m").exec(section) ?? [];
    const off = port === "0" ? "rejected-" : /^a=inactive/m.test(section) ? "inactive-" : "";
    return off + (kind === "application" ? "data" : kind === "audio" ? "audio" : codec ?? kind).toLowerCase();
  });
  return [...words, ...(sdp.includes(".local ") ? ["mdns"] : [])].join("-");
}

// With INTEROP_SDP=DIRECTORY, descriptions are kept there for the SDP corpus (tests/sdp), addresses masked. An answer is
// kept with whose offer it answers.
export function keep(name, { type, sdp }, offer) {
  const directory = process.env.INTEROP_SDP;
  if (!directory) return;
  const open = ["0.0.0.0", "127.0.0.1", "::1"];
  const address = { 4: "192.0.2.1", 6: "2001:db8::1" };
  const masked = sdp
    .replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\.local/gi, "00000000-0000-4000-8000-000000000000.local")
    .replace(/(?<= )[\da-f.:]+(?=\s)/gi, word => open.includes(word) ? word : address[isIP(word)] ?? word);
  const to = offer ? `-to-${/^o=str0m/m.test(offer.sdp) ? "str0m" : "webrtc-rs"}` : "";
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/${name}-${type}${to}-${kinds(sdp)}.sdp`, masked);
}

// The offer in a request, checked no further than its type.
export async function offerOf(request) {
  const offer = JSON.parse(await body(request));
  if (offer?.type !== "offer" || typeof offer.sdp !== "string") throw new Error("it is not an offer");
  return offer;
}

// Sends the offer. The answer, and where later offers of the same call go if the server takes any.
export async function exchange(url, offer, seconds) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(offer),
    signal: AbortSignal.timeout(seconds * 1000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${text.slice(0, 200)}`);
  const location = response.headers.get("location");
  return { answer: JSON.parse(text), again: location && new URL(location, url).href };
}

// Where offers go, for a server's URL with or without it.
export const offerUrl = url => url.endsWith("/offer") ? url : `${url.replace(/\/$/, "")}/offer`;
