// libdatachannel as an echo server: `server.mjs [--port N]`. POST /offer, GET /stats; ends on SIGTERM.
//
// It has no codecs: RTP goes back as it came, under an SSRC of ours. Reports and requests for keyframes are written
// here, for node-datachannel has no handler for the latter.

import { parseArgs } from "node:util";
import rtc from "node-datachannel";
import { json, keep, offerOf, serve } from "../http.mjs";
import { isRtcp, lines, packets, pli, receiverReport } from "./rtp.mjs";

const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });
const calls = [];
let ids = 0;

// The m-line of an answer: the offer's first codec of those we know, and an SSRC.
function mediaFor({ kind, mid, codecs }, ssrc) {
  const media = new rtc[kind === "audio" ? "Audio" : "Video"](mid, "SendRecv");
  const codec = codecs.find(({ name }) => ["H264", "VP8", "opus"].includes(name));
  if (!codec) throw new Error(`no codec of the ${kind} is known`);
  if (codec.name === "H264") media.addH264Codec(codec.type, codec.fmtp);
  else if (codec.name === "VP8") media.addVP8Codec(codec.type);
  else media.addOpusCodec(codec.type);
  media.addSSRC(ssrc, "interop", "interop", mid);
  return { media, type: codec.type };
}

function loop(track, type, ssrc, call) {
  let remote = null; // the SSRC that comes in
  let highest = 0;
  track.onMessage(packet => {
    if (!isRtcp(packet)) {
      if ((packet[1] & 0x7f) !== type) return;
      remote ??= packet.readUInt32BE(8);
      highest = packet.readUInt16BE(2);
      packet.writeUInt32BE(ssrc, 8);
      track.sendMessageBinary(packet);
      call.rtp_received += 1;
      return;
    }
    for (const part of packets(packet)) {
      if (remote === null) return;
      if (part[1] === 200) track.sendMessageBinary(receiverReport(ssrc, remote, highest, part));
      if (part[1] === 206 && [1, 4].includes(part[0] & 0x1f)) track.sendMessageBinary(pli(ssrc, remote));
    }
  });
}

const url = await serve({
  "POST /offer": async (request, response) => {
    const offer = await offerOf(request);
    const pc = new rtc.PeerConnection(`caller ${ids}`, {
      iceServers: [], bindAddress: "127.0.0.1", disableAutoNegotiation: true,
    });
    const call = { id: ids++, state: "new", messages: 0, rtp_received: 0 };
    const held = []; // what is not held is collected, and gone
    calls.push({ call, pc, held });
    pc.onStateChange(state => {
      call.state = state;
      if (state === "failed" || state === "disconnected") setImmediate(() => pc.close());
    });
    pc.onDataChannel(channel => {
      held.push(channel);
      channel.onMessage(message => {
        call.messages += 1;
        if (typeof message === "string") channel.sendMessage(message);
        else channel.sendMessageBinary(Buffer.from(message));
      });
    });
    for (const line of lines(offer.sdp)) {
      if (line.kind !== "audio" && line.kind !== "video") continue;
      const ssrc = 0x1000 * (call.id + 1) + held.length + 1;
      const { media, type } = mediaFor(line, ssrc);
      const track = pc.addTrack(media);
      held.push(track);
      loop(track, type, ssrc, call);
    }
    const gathered = new Promise(resolve => pc.onGatheringStateChange(state => state === "complete" && resolve()));
    pc.setRemoteDescription(offer.sdp, "offer");
    pc.setLocalDescription("answer");
    await gathered;
    keep("libdatachannel", pc.localDescription(), offer);
    json(response, 200, pc.localDescription());
  },
  "GET /stats": (_, response) => json(response, 200, { callers: calls.map(({ call }) => call) }),
}, Number(values.port));
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    rtc.cleanup();
    process.exit(0);
  });
}
console.log(JSON.stringify({ listening: url }));
