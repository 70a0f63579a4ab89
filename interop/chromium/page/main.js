// What the browser does. `index.html?role=client&video=h264&audio=1` offers, checks, and posts the result;
// `index.html?role=server` asks for offers, answers them, and sends back what comes in.

import { post, wishes } from "./common.js";
import { call } from "./client.js";
import { reload } from "./reload.js";
import { renegotiate } from "./renegotiate.js";
import { server } from "./server.js";

const modes = { call, reload, renegotiate };

async function client(mode) {
  const out = { ok: false, peer: "chromium" };
  const pc = new RTCPeerConnection();
  try {
    await modes[mode](pc, out);
    out.ok = true;
  } catch (error) {
    out.failed_step = error.step ?? "client";
    out.reason = String(error.message ?? error);
  }
  pc.close();
  document.getElementById("result").textContent = JSON.stringify(out);
  await post("result", out);
}

if (wishes.get("role") === "server") server();
else client(wishes.get("mode") ?? "call");
