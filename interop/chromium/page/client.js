// The offering client.

import { Failed, frozen, gathered, limit, play, post, sleep, until, watch, wishes, within } from "./common.js";
import { check, pattern, prefer } from "./pattern.js";

// Offers what the connection has, and takes the answer. When the answer was there.
export async function negotiate(pc, path = "offer") {
  await pc.setLocalDescription();
  const response = await within(limit, "signaling", post(path, await gathered(pc)));
  const text = await response.text();
  if (!response.ok) throw new Failed("signaling", text.slice(0, 200));
  const answered = performance.now();
  try {
    await pc.setRemoteDescription(JSON.parse(text));
  } catch (error) {
    throw new Failed("signaling", `the answer is refused: ${error}`);
  }
  return answered;
}

// Resolves when the connection is up, with the time.
export function up(pc) {
  const connected = new Promise((resolve, reject) => {
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") resolve(performance.now());
      if (pc.connectionState === "failed") reject(new Failed("connection", "the connection failed"));
    });
  });
  connected.catch(() => {});
  return connected;
}

// A channel, and when it is open.
export function open(pc) {
  const channel = pc.createDataChannel("echo");
  channel.binaryType = "arraybuffer";
  const opened = new Promise(resolve => { channel.onopen = () => resolve(performance.now()); });
  return { channel, opened };
}

const same = (a, b) => typeof a === "string" || typeof b === "string" ? a === b
  : a.byteLength === b.byteLength && new Uint8Array(a).every((byte, at) => byte === new Uint8Array(b)[at]);

async function echo(channel, size, step) {
  for (let index = 0; index < 8; index += 1) {
    const bytes = new Uint8Array(size).map((_, at) => at * 31 + index);
    const text = Array.from(bytes, byte => String.fromCharCode(97 + (byte % 26))).join("");
    const sent = index % 2 ? bytes.buffer : text;
    const got = new Promise(resolve => { channel.onmessage = ({ data }) => resolve(data); });
    channel.send(sent);
    if (same(await got, sent)) continue;
    throw new Failed(step, `message ${index + 1} of ${size} bytes did not come back as it was`);
  }
}

// One call, which is left open.
export async function call(pc, out) {
  const duration = Number(wishes.get("duration") ?? 3) * 1000;
  const video = wishes.get("video"), audio = wishes.get("audio") === "1", data = wishes.get("data") !== "0";
  const seen = { numbers: 0 };
  let began = 0;
  const since = at => Math.round(at - began);

  if (audio) {
    const devices = await within(limit, "media", navigator.mediaDevices.getUserMedia({ audio: true }));
    pc.addTrack(devices.getAudioTracks()[0], devices);
  }
  if (video) prefer(pc.addTransceiver(pattern(), { streams: [new MediaStream()] }), video);
  pc.ontrack = ({ track }) => track.kind === "audio" ? play(track) : check(track, seen);
  const { channel, opened } = data ? open(pc) : {};
  const connected = up(pc);
  began = await negotiate(pc);
  out.connected_ms = since(await within(limit, "connection", connected));
  const watcher = watch(pc, out);
  const mediaBegan = performance.now();
  if (data) {
    out.dc_open_ms = since(await within(limit, "channel_open", opened));
    for (const [size, step] of [[1000, "data_echo"], [60000, "data_echo_60k"]]) {
      out[`${step}_ok`] = false;
      await within(limit, step, echo(channel, size, step));
      out[`${step}_ok`] = true;
    }
  }
  if (video || audio) await sleep(Math.max(0, duration - (performance.now() - mediaBegan)));
  const seenEnough = () => !video || seen.numbers >= duration / 100;
  const heardEnough = () => !audio || (out.audio_packets > duration / 50 && out.audio_energy > 0);
  // On a machine that has other things to do it may begin late.
  await until("media", () => seenEnough() && heardEnough()).catch(() => {});
  watcher.stop();
  await watcher.look();
  if (video) {
    out.numbers_ok = seen.numbers;
    out.longest_gap_ms = frozen(seen);
    if (seen.first) out.first_frame_ms = since(seen.first);
    if (!seenEnough()) {
      const came = out.frames_decoded ?? 0;
      throw new Failed("video", `${came} pictures came back, ${seen.numbers} in order and readable`);
    }
    if (out.longest_gap_ms > 1000) throw new Failed("video", `no picture for ${out.longest_gap_ms} ms`);
  }
  if (!heardEnough()) {
    throw new Failed("audio", `${out.audio_packets ?? 0} packets came back, of energy ${out.audio_energy ?? 0}`);
  }
}
