// One call that starts with a data channel, to which video is added, dropped and added again, in each of the ways that a
// page has for it. All the while data flows.

import { Failed, limit, until, wishes, within } from "./common.js";
import { negotiate, open, up } from "./client.js";
import { check, pattern, prefer } from "./pattern.js";

const PICTURES = 30; // that come back before a step is done
const SILENCE = 500; // without one, in ms, once video is dropped

// Numbered messages at a steady rate, each of which must come back in order.
function flow(channel, out) {
  let sent = 0, last = performance.now();
  Object.assign(out, { messages_ok: 0, data_gap_ms: 0 });
  const gap = () => { out.data_gap_ms = Math.max(out.data_gap_ms, Math.round(performance.now() - last)); };
  const problems = [];
  channel.onmessage = ({ data }) => {
    if (data !== `message ${out.messages_ok}`) problems.push(`${data} came after ${out.messages_ok} messages`);
    out.messages_ok += 1;
    gap();
    last = performance.now();
  };
  const timer = setInterval(() => channel.send(`message ${sent++}`), 20);
  return async () => {
    clearInterval(timer);
    await until("data_echo", () => out.messages_ok === sent || problems.length);
    if (problems.length) throw new Failed("data_echo", problems[0]);
    if (out.data_gap_ms > 1000) throw new Failed("data_echo", `no message for ${out.data_gap_ms} ms`);
  };
}

export async function renegotiate(pc, out) {
  const codec = wishes.get("video") ?? "h264";
  const seen = { numbers: 0 };
  const read = new Set();
  pc.ontrack = ({ track }) => {
    // A transceiver that is used again has the track it had.
    if (!read.has(track)) check(track, seen);
    read.add(track);
  };
  const { channel, opened } = open(pc);
  const connected = up(pc);
  const began = await negotiate(pc);
  out.connected_ms = Math.round(await within(limit, "connection", connected) - began);
  out.dc_open_ms = Math.round(await within(limit, "channel_open", opened) - began);
  const flowed = flow(channel, out);

  const track = pattern(), stream = new MediaStream();
  let now; // the transceiver that sends
  const add = () => {
    const sender = pc.addTrack(track, stream);
    now = pc.getTransceivers().find(transceiver => transceiver.sender === sender);
    prefer(now, codec);
  };
  const steps = [
    ["addTrack", add],
    ["inactive", () => { now.direction = "inactive"; }],
    ["sendrecv", () => { now.direction = "sendrecv"; }],
    ["removeTrack", () => pc.removeTrack(now.sender)],
    ["addTrack again", add],
    ["stop", () => now.stop()],
  ];
  out.steps = [];
  for (const [index, [name, change]] of steps.entries()) {
    const from = performance.now(), before = seen.numbers;
    const done = { name };
    try {
      change();
      const answered = await negotiate(pc, "again");
      done.answered_ms = Math.round(answered - from);
      if (index % 2) {
        await until("video", () => performance.now() - seen.last > SILENCE);
        done.stopped_ms = Math.round(Math.max(0, seen.last - answered));
      } else {
        await until("video", () => seen.numbers > before);
        done.first_frame_ms = Math.round(performance.now() - answered);
        await until("video", () => seen.numbers >= before + PICTURES);
      }
    } catch (error) {
      throw new Failed(error.step ?? "renegotiation", `${name}: ${error.message}`);
    }
    out.steps.push(done);
  }
  out.numbers_ok = seen.numbers;
  await flowed();
}
