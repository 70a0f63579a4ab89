// The little of SDP, RTP, RTCP and IVF that the two programs need.

import { readFileSync } from "node:fs";

// The m-lines of a description, each with its mid and codecs in order.
export function lines(sdp) {
  return sdp.split(/^(?=m=)/m).slice(1).map(text => {
    const [, kind, types] = text.match(/^m=(\w+) \S+ \S+ ?(.*)/);
    const codecs = types.trim().split(" ").map(type => ({
      type: Number(type),
      name: text.match(new RegExp(`^a=rtpmap:${type} ([^/\\s]+)`, "m"))?.[1],
      fmtp: text.match(new RegExp(`^a=fmtp:${type} (.*)`, "m"))?.[1].trim(),
    }));
    // A payload of whole NAL units only (packetization-mode 0) is not what anybody sends.
    const usable = codecs.filter(({ name, fmtp }) => name !== "H264" || fmtp?.includes("packetization-mode=1"));
    return { kind, mid: text.match(/^a=mid:(\S+)/m)?.[1], codecs: usable };
  });
}

// RFC 5761, section 4.
export const isRtcp = packet => packet[1] >= 192 && packet[1] <= 223;

// The packets of a compound RTCP packet.
export function* packets(compound) {
  for (let at = 0; at + 8 <= compound.length;) {
    const length = (compound.readUInt16BE(at + 2) + 1) * 4;
    yield compound.subarray(at, at + length);
    at += length;
  }
}

function words(first, type, ...values) {
  const packet = Buffer.alloc(4 + 4 * values.length);
  packet[0] = first;
  packet[1] = type;
  packet.writeUInt16BE(values.length, 2);
  values.forEach((value, index) => packet.writeUInt32BE(value >>> 0, 4 + 4 * index));
  return packet;
}

// Picture loss indication, RFC 4585, section 6.3.1.
export const pli = (from, about) => words(0x81, 206, from, about);

// A receiver report without loss or jitter, in answer to a sender report.
export const receiverReport = (from, about, highest, report) =>
  words(0x81, 201, from, about, 0, highest, 0, report.readUInt32BE(10), 0);

export function payload(packet) {
  let at = 12 + 4 * (packet[0] & 15);
  if (packet[0] & 0x10) at += 4 + 4 * packet.readUInt16BE(at + 2);
  const padding = packet[0] & 0x20 ? packet[packet.length - 1] : 0;
  return packet.subarray(at, packet.length - padding);
}

// The frames of an IVF file.
export function frames(name) {
  const file = readFileSync(new URL(name, import.meta.url));
  const found = [];
  for (let at = file.readUInt16LE(6); at + 12 <= file.length;) {
    const length = file.readUInt32LE(at);
    found.push(file.subarray(at + 12, at + 12 + length));
    at += 12 + length;
  }
  return found;
}

// The coded picture inside an RTP payload, whatever is round it; null where there is none. Pictures of more than one
// packet are not put together, for ours have one.
export function picture(codec, data) {
  if (codec === "vp8") {
    // RFC 7741, section 4.2.
    let at = 1;
    if (data[0] & 0x80) {
      const extension = data[at++];
      if (extension & 0x80) at += data[at] & 0x80 ? 2 : 1;
      if (extension & 0x40) at += 1;
      if (extension & 0x30) at += 1;
    }
    return data.subarray(at);
  }
  // RFC 6184: a slice by itself, or the last unit of a STAP-A.
  const type = data[0] & 31;
  if (type === 1 || type === 5) return data;
  if (type !== 24) return null;
  let last = null;
  for (let at = 1; at + 2 <= data.length; at += 2 + data.readUInt16BE(at)) {
    last = data.subarray(at + 2, at + 2 + data.readUInt16BE(at));
  }
  return last;
}

// The coded picture in a frame of the file.
export function pictureOf(codec, frame) {
  if (codec === "vp8") return frame;
  const start = frame.lastIndexOf(Buffer.from([0, 0, 1]));
  return frame.subarray(start + 3);
}
