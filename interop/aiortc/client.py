"""aiortc as the offering client: `client.py URL [--video h264|vp8] [--audio] [--no-data]`. Prints one JSON line."""

import argparse
import asyncio
import fractions
import json
import sys
import time

import aiohttp
import numpy
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, RATE = 640, 480, 48000


class Failed(Exception):
    """The step that failed, and why."""


def word(number):
    """The number's low 12 bits, and 4 bits that check them."""
    number %= 4096
    return number | (number * 7 % 16) << 12


def draw(number):
    """A picture that moves, with its number as 16 squares along the top."""
    picture = numpy.full((HEIGHT, WIDTH, 3), (40, 90, 60), numpy.uint8)
    left = number * 5 % (WIDTH - 80)
    picture[200:280, left : left + 80] = (230, 200, 60)
    bits = [(word(number) >> bit & 1) * 255 for bit in range(16)]
    picture[:40] = numpy.repeat(bits, 40).astype(numpy.uint8)[None, :, None]
    return picture


def read(picture):
    """The number in a picture, or None."""
    middles = picture[15:25, :, 0].mean(0).reshape(16, 40)[:, 15:25].mean(1)
    found = sum(int(middle > 127) << bit for bit, middle in enumerate(middles))
    return found % 4096 if found == word(found) else None


class Pattern(VideoStreamTrack):
    number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame.from_ndarray(draw(self.number), format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        self.number += 1
        return frame


class Tone(AudioStreamTrack):
    async def recv(self):
        frame = await super().recv()
        at = (frame.pts + numpy.arange(frame.samples)) / frame.sample_rate
        wave = (numpy.sin(2 * numpy.pi * 440 * at) * 8000).astype(numpy.int16)
        tone = AudioFrame.from_ndarray(wave[None, :], format="s16", layout="mono")
        tone.pts, tone.sample_rate = frame.pts, frame.sample_rate
        tone.time_base = fractions.Fraction(1, frame.sample_rate)
        return tone


async def watch(track, seen):
    """Counts the frames that come back, and the longest time without one."""
    last, number = None, -1
    while True:
        frame = await track.recv()
        now = time.monotonic()
        if track.kind == "audio":
            seen["audio_frames"] += 1
            seen["loudest"] = max(seen["loudest"], int(numpy.abs(frame.to_ndarray()).max()))
            continue
        seen["first_frame"] = seen["first_frame"] or now
        seen["frames_decoded"] += 1
        seen["gap"] = max(seen["gap"], now - last if last else 0)
        last = now
        # The other side may have made it smaller.
        found = read(frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray())
        if found is not None and found > number:
            number = found
            seen["numbers_ok"] += 1


async def echo(channel, size, back):
    """Sends texts and bytes of a size in turn; they must come back whole and in order."""
    for index in range(8):
        data = bytes((at * 31 + index) % 256 for at in range(size))
        sent = data if index % 2 else "".join(chr(97 + byte % 26) for byte in data)
        channel.send(sent)
        got = await back.get()
        if got != sent:
            what = f"message {index + 1} of {size} bytes came back as {len(got)} of {type(got).__name__}"
            raise Failed("data_echo" if size == 1000 else "data_echo_60k", what)


async def call(args, pc, out):
    seen = {"frames_decoded": 0, "audio_frames": 0, "numbers_ok": 0, "loudest": 0, "first_frame": None, "gap": 0}
    tasks = []
    connected, opened, back = asyncio.Event(), asyncio.Event(), asyncio.Queue()

    @pc.on("connectionstatechange")
    def changed():
        if pc.connectionState == "connected":
            out["connected_ms"] = since()
            connected.set()

    @pc.on("track")
    def track(track):
        tasks.append(asyncio.ensure_future(watch(track, seen)))

    channel = None
    if not args.no_data:
        channel = pc.createDataChannel("echo")
        channel.on("message", back.put_nowait)

        @channel.on("open")
        def open():
            out["dc_open_ms"] = since()
            opened.set()

    if args.audio:
        pc.addTrack(Tone())
    if args.video:
        pc.addTrack(Pattern())
        codecs = RTCRtpSender.getCapabilities("video").codecs
        wanted = [codec for codec in codecs if codec.mimeType.lower() == f"video/{args.video}"]
        pc.getTransceivers()[-1].setCodecPreferences(wanted)
    await pc.setLocalDescription(await pc.createOffer())
    body = {"type": "offer", "sdp": pc.localDescription.sdp}
    try:
        timeout = aiohttp.ClientTimeout(total=args.timeout)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.post(args.url, json=body) as response:
            text = await response.text()
            if response.status != 200:
                raise Failed("signaling", f"{response.status}: {text[:200]}")
            answer = json.loads(text)
        began = time.monotonic()
        since = lambda: round((time.monotonic() - began) * 1000)
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    except Failed:
        raise
    except Exception as error:
        raise Failed("signaling", repr(error))

    async def within(step, waiting):
        try:
            return await asyncio.wait_for(waiting, args.timeout)
        except asyncio.TimeoutError:
            raise Failed(step, f"not within {args.timeout} s, connection {pc.connectionState}")

    await within("dtls_connected", connected.wait())
    media_began = time.monotonic()
    least_pictures, least_frames = args.duration * 10, args.duration * 20

    def enough():
        heard = seen["audio_frames"] >= least_frames and seen["loudest"] >= 2000
        return (heard or not args.audio) and (seen["numbers_ok"] >= least_pictures or not args.video)

    if channel:
        await within("channel_open", opened.wait())
        for size, key in ((1000, "data_echo_ok"), (60000, "data_echo_60k_ok")):
            out[key] = False
            await within(key.removesuffix("_ok"), echo(channel, size, back))
            out[key] = True
    if args.video or args.audio:
        await asyncio.sleep(max(0, args.duration - (time.monotonic() - media_began)))
        # On a machine that has other things to do it may begin late.
        for _ in range(round(args.timeout * 20)):
            if enough():
                break
            await asyncio.sleep(0.05)
        reports = [value for r in pc.getReceivers() for value in (await r.getStats()).values()]
        received = [report for report in reports if report.type == "inbound-rtp"]
        out["rtp_received"] = sum(report.packetsReceived for report in received)
    for task in tasks:
        task.cancel()
    if args.video:
        receiver = next(t.receiver for t in pc.getTransceivers() if t.kind == "video")
        codecs = getattr(receiver, "_RTCRtpReceiver__codecs", {})
        out["remote_codec"] = next((codec.mimeType for codec in codecs.values()), None)
        out["frames_decoded"], out["numbers_ok"] = seen["frames_decoded"], seen["numbers_ok"]
        out["longest_gap_ms"] = round(seen["gap"] * 1000)
        if seen["first_frame"]:
            out["first_frame_ms"] = round((seen["first_frame"] - began) * 1000)
        if seen["numbers_ok"] < least_pictures:
            came, read = seen["frames_decoded"], seen["numbers_ok"]
            raise Failed("video", f"{came} pictures came back, {read} in order and readable")
        if seen["gap"] > 1:
            raise Failed("video", f"no picture for {seen['gap']:.1f} s")
    if args.audio:
        out["audio_frames"] = seen["audio_frames"]
        if seen["audio_frames"] < least_frames or seen["loudest"] < 2000:
            raise Failed("audio", f"{seen['audio_frames']} frames came back, the loudest sample is {seen['loudest']}")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--video", choices=["h264", "vp8"])
    parser.add_argument("--audio", action="store_true")
    parser.add_argument("--no-data", action="store_true")
    parser.add_argument("--duration", type=float, default=3)
    parser.add_argument("--timeout", type=float, default=10)
    args = parser.parse_args()
    args.url = args.url if args.url.endswith("/offer") else args.url.rstrip("/") + "/offer"
    out = {"ok": False, "peer": "aiortc"}
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        await asyncio.wait_for(call(args, pc, out), 5 * args.timeout + args.duration)
        out["ok"] = True
    except Failed as failed:
        out["failed_step"], out["reason"] = failed.args
    except Exception as error:
        out["failed_step"], out["reason"] = "client", repr(error)
    print(json.dumps(out), flush=True)
    try:
        await asyncio.wait_for(pc.close(), 5)
    except asyncio.TimeoutError:
        pass
    return 0 if out["ok"] else 1


sys.exit(asyncio.run(main()))
