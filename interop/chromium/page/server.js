// The answering echo server.

import { frozen, gathered, pictures, play, post, watch } from "./common.js";

async function answer({ id, offer }, calls) {
  const pc = new RTCPeerConnection();
  const out = { id, state: "new", messages: 0 };
  const seen = {};
  calls.push({ out, seen });
  pc.ontrack = ({ track, streams }) => {
    pc.addTrack(track, ...streams);
    if (track.kind === "audio") play(track);
    else pictures(track, seen);
  };
  pc.ondatachannel = ({ channel }) => {
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => {
      out.messages += 1;
      channel.send(data);
    };
  };
  const watcher = watch(pc, out);
  pc.onconnectionstatechange = () => {
    out.state = pc.connectionState;
    if (["failed", "closed", "disconnected"].includes(out.state)) {
      watcher.stop();
      pc.close();
    }
  };
  try {
    await pc.setRemoteDescription(offer);
    await pc.setLocalDescription();
    await post("answer", { id, answer: await gathered(pc) });
  } catch (error) {
    watcher.stop();
    pc.close();
    await post("answer", { id, error: String(error) });
  }
}

export async function server() {
  const calls = [];
  const stats = () => calls.map(({ out, seen }) => ({ ...out, longest_gap_ms: seen.gap && Math.round(seen.gap) }));
  setInterval(() => post("stats", stats()), 250);
  for (;;) {
    const next = await fetch("next");
    if (next.status === 200) answer(await next.json(), calls);
  }
}
