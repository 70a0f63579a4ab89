"""aiortc as an echo server: `server.py [--port N]`. POST /offer, GET /stats; ends on SIGTERM."""

import argparse
import asyncio
import json
import signal

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

calls = []


async def offer(request):
    try:
        body = await request.json()
        description = RTCSessionDescription(body["sdp"], body["type"])
        if description.type != "offer":
            raise ValueError("not an offer")
    except (ValueError, KeyError, TypeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    # Without this the library asks a public STUN server.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    call = {"state": "new", "messages": 0, "tracks": []}
    calls.append(call)

    @pc.on("connectionstatechange")
    async def changed():
        call["state"] = pc.connectionState
        if pc.connectionState == "failed":
            await pc.close()

    @pc.on("datachannel")
    def channel(channel):
        @channel.on("message")
        def message(message):
            call["messages"] += 1
            channel.send(message)

    @pc.on("track")
    def track(track):
        call["tracks"].append(track.kind)
        # Decoded and encoded again: aiortc has no way to send encoded frames on.
        pc.addTrack(MediaRelay().subscribe(track))

    try:
        await pc.setRemoteDescription(description)
        await pc.setLocalDescription(await pc.createAnswer())
    except Exception as error:
        await pc.close()
        return web.json_response({"error": repr(error)}, status=400)
    return web.json_response({"type": "answer", "sdp": pc.localDescription.sdp})


async def stats(_):
    return web.json_response({"callers": calls})


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    app = web.Application(client_max_size=64 * 1024)
    app.add_routes([web.post("/offer", offer), web.get("/stats", stats)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, args.host, args.port)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    print(json.dumps({"listening": f"http://{args.host}:{port}"}), flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await runner.cleanup()


asyncio.run(main())
