// What both roles need.

export const wishes = new URLSearchParams(location.search);
export const limit = Number(wishes.get("timeout") ?? 10) * 1000;
export const sleep = ms => new Promise(done => setTimeout(done, ms));
export const post = (path, value) => fetch(path, { method: "POST", body: JSON.stringify(value) });

export class Failed extends Error {
  constructor(step, reason) {
    super(reason);
    this.step = step;
  }
}

export function within(ms, step, promise) {
  const late = sleep(ms).then(() => { throw new Failed(step, `not within ${ms} ms`); });
  return Promise.race([promise, late]);
}

// Looks again and again until it is so.
export async function until(step, check) {
  for (const began = performance.now(); !check();) {
    if (performance.now() - began > limit) throw new Failed(step, `not within ${limit} ms`);
    await sleep(5);
  }
}

export async function gathered(pc) {
  const done = new Promise(resolve => {
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
  if (pc.iceGatheringState !== "complete") await within(5000, "gathering", done);
  return pc.localDescription.toJSON();
}

// Counts of one connection.
export function watch(pc, out) {
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
        out.frames_decoded = report.framesDecoded;
        out.size = `${report.frameWidth}x${report.frameHeight}`;
        out.remote_codec = reports.get(report.codecId)?.mimeType;
      } else if (report.type === "outbound-rtp" && report.kind === "video") {
        out.frames_sent = report.framesSent;
      }
    }
  };
  const timer = setInterval(() => look().catch(() => clearInterval(timer)), 200);
  return { look, stop: () => clearInterval(timer) };
}

// Calls for each picture of a track, until it ends. `seen` has when the first and the last one came, and the longest
// time between two.
export async function pictures(track, seen, each = () => {}) {
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    const now = performance.now();
    seen.first ??= now;
    seen.gap = Math.max(seen.gap ?? 0, now - (seen.last ?? now));
    seen.last = now;
    each(frame);
    frame.close();
  }
}

// The longest time without a picture up to now.
export const frozen = ({ gap, last }) => last === undefined ? undefined : Math.round(Math.max(gap, performance.now() - last));

// Sound is decoded only where it is played.
export function play(track) {
  const element = new Audio();
  element.srcObject = new MediaStream([track]);
  element.play().catch(error => console.log(error));
  document.body.append(element);
}
