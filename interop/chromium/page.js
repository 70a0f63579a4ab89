// What the browser does. `page.html?role=client&video=h264&audio=1` offers, checks, and posts the result;
// `page.html?role=server` asks for offers, answers them, and sends back what comes in.
"use strict";
const wishes = new URLSearchParams(location.search);
const sleep = ms => new Promise(done => setTimeout(done, ms));
const post = (path, value) => fetch(path, { method: "POST", body: JSON.stringify(value) });

class Failed extends Error {
  constructor(step, reason) {
    super(reason);
    this.step = step;
  }
}

function within(ms, step, promise) {
  const late = sleep(ms).then(() => { throw new Failed(step, `not within ${ms} ms`); });
  return Promise.race([promise, late]);
}

async function gathered(pc) {
  const done = new Promise(resolve => {
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
  if (pc.iceGatheringState !== "complete") await within(5000, "gathering", done);
  return pc.localDescription.toJSON();
}

// Counts of one connection, and the longest time between two pictures; `still` is the time since the last one.
function watch(pc, out) {
  let at = null;
  const look = async () => {
    const reports = new Map(await pc.getStats());
    out.state = pc.connectionState;
    out.rtp_received = 0;
    for (const report of reports.values()) {
      if (report.type === "inbound-rtp") {
        out.rtp_received += report.packetsReceived ?? 0;
        if (report.kind === "audio") {
          out.audio_packets = report.packetsReceived;
          out.audio_energy = report.totalAudioEnergy;
          continue;
        }
        const now = performance.now();
        if (report.framesDecoded > (out.frames_decoded ?? 0)) {
          if (at !== null) out.longest_gap_ms = Math.max(out.longest_gap_ms ?? 0, Math.round(now - at));
          at = now;
        }
        out.frames_decoded = report.framesDecoded;
        out.size = `${report.frameWidth}x${report.frameHeight}`;
        out.remote_codec = reports.get(report.codecId)?.mimeType;
      } else if (report.type === "outbound-rtp" && report.kind === "video") {
        out.frames_sent = report.framesSent;
      }
    }
  };
  const timer = setInterval(() => look().catch(() => clearInterval(timer)), 200);
  return { look, still: () => performance.now() - (at ?? 0), stop: () => clearInterval(timer) };
}

// Sound is decoded only where it is played.
function play(track) {
  const element = new Audio();
  element.srcObject = new MediaStream([track]);
  element.play().catch(error => console.log(error));
  document.body.append(element);
}

// ---- the answering echo server

async function answer({ id, offer }, calls) {
  const pc = new RTCPeerConnection();
  const out = { id, state: "new", messages: 0 };
  calls.push(out);
  pc.ontrack = ({ track, streams }) => {
    pc.addTrack(track, ...streams);
    if (track.kind === "audio") play(track);
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

async function server() {
  const calls = [];
  setInterval(() => post("stats", calls), 250);
  for (;;) {
    const next = await fetch("next");
    if (next.status === 200) answer(await next.json(), calls);
  }
}

// ---- the offering client

const WIDTH = 640, HEIGHT = 480;

// The number's low 12 bits, and 4 bits that check them.
const word = number => (number % 4096) | (((number % 4096) * 7) % 16) << 12;

// Pictures that move, with their number as 16 squares along the top.
function pattern() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  let number = 0;
  const draw = () => {
    context.fillStyle = "#285a3c";
    context.fillRect(0, 0, WIDTH, HEIGHT);
    context.fillStyle = "#e6c83c";
    context.fillRect((number * 5) % (WIDTH - 80), 200, 80, 80);
    for (let bit = 0; bit < 16; bit += 1) {
      context.fillStyle = (word(number) >> bit) & 1 ? "#fff" : "#000";
      context.fillRect(bit * 40, 0, 40, 40);
    }
    number += 1;
  };
  draw();
  setInterval(draw, 1000 / 30);
  const [track] = canvas.captureStream(30).getVideoTracks();
  track.contentHint = "detail";
  return track;
}

// Counts the pictures whose number can be read and is higher than the last.
async function check(track, seen) {
  const canvas = new OffscreenCanvas(128, 96);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  let last = -1;
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    seen.first ??= performance.now();
    context.drawImage(frame, 0, 0, 128, 96);
    frame.close();
    const { data } = context.getImageData(0, 4, 128, 1);
    let found = 0;
    for (let bit = 0; bit < 16; bit += 1) found |= (data[(bit * 8 + 4) * 4] > 127) << bit;
    if (found === word(found % 4096) && found % 4096 > last) {
      last = found % 4096;
      seen.numbers += 1;
    }
  }
}

function prefer(transceiver, name) {
  const { codecs } = RTCRtpReceiver.getCapabilities("video");
  const of = type => codecs.filter(codec => codec.mimeType.toLowerCase() === type);
  if (!of(`video/${name}`).length) throw new Failed("media", `this browser has no ${name}`);
  transceiver.setCodecPreferences([...of(`video/${name}`), ...of("video/rtx")]);
}

const same = (a, b) => typeof a === "string" || typeof b === "string" ? a === b
  : a.byteLength === b.byteLength && new Uint8Array(a).every((byte, at) => byte === new Uint8Array(b)[at]);

async function echo(channel, size, step, back) {
  for (let index = 0; index < 8; index += 1) {
    const bytes = new Uint8Array(size).map((_, at) => at * 31 + index);
    const text = Array.from(bytes, byte => String.fromCharCode(97 + (byte % 26))).join("");
    const sent = index % 2 ? bytes.buffer : text;
    const got = new Promise(resolve => { back.take = resolve; });
    channel.send(sent);
    if (same(await got, sent)) continue;
    throw new Failed(step, `message ${index + 1} of ${size} bytes did not come back as it was`);
  }
}

async function offer(pc, out) {
  const limit = Number(wishes.get("timeout") ?? 10) * 1000;
  const duration = Number(wishes.get("duration") ?? 3) * 1000;
  const video = wishes.get("video"), audio = wishes.get("audio") === "1", data = wishes.get("data") !== "0";
  const seen = { numbers: 0 };
  let began = 0;
  const since = () => Math.round(performance.now() - began);

  if (audio) {
    const devices = await within(limit, "media", navigator.mediaDevices.getUserMedia({ audio: true }));
    pc.addTrack(devices.getAudioTracks()[0], devices);
  }
  if (video) prefer(pc.addTransceiver(pattern(), { streams: [new MediaStream()] }), video);
  pc.ontrack = ({ track }) => track.kind === "audio" ? play(track) : check(track, seen);
  const channel = data ? pc.createDataChannel("echo") : null;
  const back = {};
  const opened = new Promise(resolve => {
    if (!channel) return;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => back.take?.(data);
    channel.onopen = () => {
      out.dc_open_ms = since();
      resolve();
    };
  });
  const connected = new Promise((resolve, reject) => {
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected" && !out.connected_ms) {
        out.connected_ms = since();
        resolve();
      }
      if (pc.connectionState === "failed") reject(new Failed("connection", "the connection failed"));
    };
  });
  connected.catch(() => {});

  await pc.setLocalDescription();
  const response = await within(limit, "signaling", post("offer", await gathered(pc)));
  const text = await response.text();
  if (!response.ok) throw new Failed("signaling", text.slice(0, 200));
  began = performance.now();
  try {
    await pc.setRemoteDescription(JSON.parse(text));
  } catch (error) {
    throw new Failed("signaling", `the answer is refused: ${error}`);
  }
  await within(limit, "connection", connected);
  const watcher = watch(pc, out);
  const mediaBegan = performance.now();
  if (channel) {
    await within(limit, "channel_open", opened);
    for (const [size, step] of [[1000, "data_echo"], [60000, "data_echo_60k"]]) {
      out[`${step}_ok`] = false;
      await within(limit, step, echo(channel, size, step, back));
      out[`${step}_ok`] = true;
    }
  }
  if (video || audio) await sleep(Math.max(0, duration - (performance.now() - mediaBegan)));
  watcher.stop();
  await watcher.look();
  if (video) {
    out.numbers_ok = seen.numbers;
    if (seen.first) out.first_frame_ms = Math.round(seen.first - began);
    if (seen.numbers < duration / 100) {
      const came = out.frames_decoded ?? 0;
      throw new Failed("video", `${came} pictures came back, ${seen.numbers} in order and readable`);
    }
    const frozen = Math.max(out.longest_gap_ms ?? 0, Math.round(watcher.still()));
    if (frozen > 1000) throw new Failed("video", `no picture for ${frozen} ms`);
  }
  if (audio && !(out.audio_packets > duration / 50 && out.audio_energy > 0)) {
    throw new Failed("audio", `${out.audio_packets ?? 0} packets came back, of energy ${out.audio_energy ?? 0}`);
  }
}

async function client() {
  const out = { ok: false, peer: "chromium" };
  const pc = new RTCPeerConnection();
  try {
    await offer(pc, out);
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
else client();
