// Numbered pictures.

import { Failed, pictures } from "./common.js";

const WIDTH = 640, HEIGHT = 480;

// The number's low 12 bits, and 4 bits that check them.
const word = number => (number % 4096) | (((number % 4096) * 7) % 16) << 12;

// Pictures that move, with their number as 16 squares along the top.
export function pattern() {
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

// Counts in `seen.numbers` the pictures whose number can be read and is higher than the last.
export function check(track, seen) {
  const canvas = new OffscreenCanvas(128, 96);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = -1;
  return pictures(track, seen, frame => {
    context.drawImage(frame, 0, 0, 128, 96);
    const { data } = context.getImageData(0, 4, 128, 1);
    let found = 0;
    for (let bit = 0; bit < 16; bit += 1) found |= (data[(bit * 8 + 4) * 4] > 127) << bit;
    if (found === word(found % 4096) && found % 4096 > last) {
      last = found % 4096;
      seen.numbers += 1;
    }
  });
}

export function prefer(transceiver, name) {
  const { codecs } = RTCRtpReceiver.getCapabilities("video");
  const of = type => codecs.filter(codec => codec.mimeType.toLowerCase() === type);
  if (!of(`video/${name}`).length) throw new Failed("media", `this browser has no ${name}`);
  transceiver.setCodecPreferences([...of(`video/${name}`), ...of("video/rtx")]);
}
