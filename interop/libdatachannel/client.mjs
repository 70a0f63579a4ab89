// libdatachannel as the offering client: `client.mjs URL [--video h264|vp8] [--audio] [--no-data]`. Prints one line of
// JSON.
//
// It has no codecs: a second of coded video (h264.ivf, vp8.ivf) and silence in Opus are sent again and again. A picture
// that comes back is compared byte by byte; a peer that decodes and encodes again has none that are the same.

import { parseArgs } from "node:util";
import rtc from "node-datachannel";
import { exchange, keep, offerUrl } from "../http.mjs";
import { frames, isRtcp, lines, payload, picture, pictureOf } from "./rtp.mjs";

const { values, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    video: { type: "string" },
    audio: { type: "boolean", default: false },
    "no-data": { type: "boolean", default: false },
    duration: { type: "string", default: "3" },
    timeout: { type: "string", default: "10" },
  },
});
const duration = Number(values.duration), timeout = Number(values.timeout);
const out = { ok: false, peer: "libdatachannel" };
const sleep = ms => new Promise(done => setTimeout(done, ms));
let began = 0;
const since = () => Math.round(performance.now() - began);

class Failed extends Error {
  constructor(step, reason) {
    super(reason);
    this.step = step;
  }
}

function within(step, promise) {
  const late = sleep(timeout * 1000).then(() => { throw new Failed(step, `not within ${timeout} s`); });
  return Promise.race([promise, late]);
}

// A sending track: the library makes packets of what it is given.
function sending(pc, media, ssrc, type, rate, packetizer) {
  media.addSSRC(ssrc, "interop", "interop", media.mid());
  const track = pc.addTrack(media);
  const config = new rtc.RtpPacketizationConfig(ssrc, "interop", type, rate);
  const chain = packetizer(config);
  chain.addToChain(new rtc.RtcpSrReporter(config));
  chain.addToChain(new rtc.RtcpNackResponder());
  chain.addToChain(new rtc.RtcpReceivingSession());
  track.setMediaHandler(chain);
  return { track, config };
}

function video(pc, codec) {
  const media = new rtc.Video("video", "SendRecv");
  const fmtp = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1";
  if (codec === "h264") media.addH264Codec(96, fmtp);
  else media.addVP8Codec(96);
  const { track, config } = sending(pc, media, 41, 96, 90000, config => codec === "h264"
    ? new rtc.H264RtpPacketizer("StartSequence", config, 1100) : new rtc.RtpPacketizer(config));
  const all = frames(`${codec}.ivf`);
  const known = new Map(all.map((frame, index) => [pictureOf(codec, frame).toString("latin1"), index]));
  const seen = { rtp: 0, frames: 0, same: 0, gap: 0, first: null, last: null };
  track.onMessage(packet => {
    if (isRtcp(packet)) return;
    seen.rtp += 1;
    const now = performance.now();
    const coded = picture(codec, payload(packet));
    if (coded && known.has(coded.toString("latin1"))) seen.same += 1;
    if (!(packet[1] & 0x80)) return; // not the last packet of a picture
    seen.first ??= now;
    seen.frames += 1;
    if (seen.last) seen.gap = Math.max(seen.gap, now - seen.last);
    seen.last = now;
  });
  let number = 0;
  const start = () => setInterval(() => {
    const frame = all[number % all.length];
    config.timestamp = (number * 3000) % 2 ** 32;
    // VP8's payload descriptor: a partition begins. Each picture is one packet.
    track.sendMessageBinary(codec === "h264" ? frame : Buffer.concat([Buffer.from([0x10]), frame]));
    number += 1;
  }, 1000 / 30);
  return { start, seen, track };
}

function audio(pc) {
  const media = new rtc.Audio("audio", "SendRecv");
  media.addOpusCodec(111);
  const { track, config } = sending(pc, media, 42, 111, 48000, config => new rtc.RtpPacketizer(config));
  const silence = Buffer.from([0xf8, 0xff, 0xfe]); // 20 ms
  const seen = { rtp: 0 };
  track.onMessage(packet => { if (!isRtcp(packet)) seen.rtp += 1; });
  let number = 0;
  const start = () => setInterval(() => {
    config.timestamp = (number * 960) % 2 ** 32;
    track.sendMessageBinary(silence);
    number += 1;
  }, 20);
  return { start, seen, track };
}

async function echo(channel, size, step, back) {
  for (let index = 0; index < 8; index += 1) {
    const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, at) => at * 31 + index));
    const text = Array.from(bytes, byte => String.fromCharCode(97 + (byte % 26))).join("");
    const got = new Promise(resolve => { back.take = resolve; });
    if (index % 2) channel.sendMessageBinary(bytes);
    else channel.sendMessage(text);
    const message = await got;
    const same = index % 2 ? Buffer.isBuffer(message) && message.equals(bytes) : message === text;
    if (!same) throw new Failed(step, `message ${index + 1} of ${size} bytes did not come back as it was`);
  }
}

async function call(pc) {
  const pictures = values.video ? video(pc, values.video) : null;
  const sound = values.audio ? audio(pc) : null;
  const channel = values["no-data"] ? null : pc.createDataChannel("echo");
  const back = {};
  const opened = new Promise(resolve => channel?.onOpen(() => {
    out.dc_open_ms = since();
    resolve();
  }));
  channel?.onMessage(message => back.take?.(message));
  const connected = new Promise((resolve, reject) => pc.onStateChange(state => {
    if (state === "connected") {
      out.connected_ms = since();
      resolve();
    }
    if (state === "failed") reject(new Failed("connection", "the connection failed"));
  }));
  connected.catch(() => {});
  const gathered = new Promise(resolve => pc.onGatheringStateChange(state => state === "complete" && resolve()));
  pc.setLocalDescription("offer");
  await within("gathering", gathered);
  try {
    keep("libdatachannel", pc.localDescription());
    const { answer } = await exchange(offerUrl(url), pc.localDescription(), timeout);
    began = performance.now();
    pc.setRemoteDescription(answer.sdp, answer.type);
    if (pictures) out.remote_codec = lines(answer.sdp).find(line => line.kind === "video")?.codecs[0]?.name;
  } catch (error) {
    throw new Failed("signaling", error.cause?.message ?? error.message);
  }
  await within("connection", connected);
  const timers = [pictures, sound].filter(Boolean).map(({ start }) => start());
  const mediaBegan = performance.now();
  if (channel) {
    await within("channel_open", opened);
    for (const [size, step] of [[1000, "data_echo"], [60000, "data_echo_60k"]]) {
      out[`${step}_ok`] = false;
      await within(step, echo(channel, size, step, back));
      out[`${step}_ok`] = true;
    }
  }
  if (pictures || sound) await sleep(Math.max(0, duration * 1000 - (performance.now() - mediaBegan)));
  const enough = () => !(pictures?.seen.frames < duration * 10) && !(sound?.seen.rtp < duration * 20);
  // On a machine that has other things to do it may begin late.
  for (let left = timeout * 20; left > 0 && !enough(); left -= 1) await sleep(50);
  timers.forEach(clearInterval);
  out.rtp_received = (pictures?.seen.rtp ?? 0) + (sound?.seen.rtp ?? 0);
  if (pictures) {
    const { frames, same, gap, first, last } = pictures.seen;
    const frozen = Math.round(Math.max(gap, performance.now() - (last ?? began)));
    out.frames_received = frames;
    out.frames_same = same;
    out.longest_gap_ms = frozen;
    if (first) out.first_frame_ms = Math.round(first - began);
    if (frames < duration * 10) throw new Failed("video", `${frames} pictures came back`);
    if (frozen > 1000) throw new Failed("video", `no picture for ${frozen} ms`);
  }
  if (sound) {
    out.audio_packets = sound.seen.rtp;
    if (sound.seen.rtp < duration * 20) throw new Failed("audio", `${sound.seen.rtp} packets came back`);
  }
}

const pc = new rtc.PeerConnection("interop", {
  iceServers: [], bindAddress: "127.0.0.1", disableAutoNegotiation: true,
});
try {
  await call(pc);
  out.ok = true;
} catch (error) {
  out.failed_step = error.step ?? "client";
  out.reason = String(error.message ?? error);
}
console.log(JSON.stringify(out));
pc.close();
rtc.cleanup();
process.exit(out.ok ? 0 : 1);
