"""The calls of a table's cell, and what is said of them."""

import statistics
import time

from .peers import KINDS
from .processes import Server, log_file, run


class Cell:
    """Calls of one stack with one peer."""

    def __init__(self, name, client, say, look=None, more=0, duration=None):
        self.name = name
        self.client = client  # the command, by URL, seconds, and whether it is one of the calls for the times
        self.say = say  # what is said of it if all is well
        self.look = look  # a closer look at a result, with the server
        self.more = more  # how many more calls there are for the times
        self.duration = duration  # of the first call, in seconds, if not the one for all
        self.calls = []
        self.skipped = None  # what is missing for it here
        self.limit = None  # what it cannot do

    @property
    def todo(self):
        return not self.skipped and not self.limit

    @property
    def ok(self):
        return bool(self.calls) and all(call["ok"] for call in self.calls)

    @property
    def failure(self):
        failed = [why(call) for call in self.calls if not call["ok"]]
        return failed and failed[0]

    @property
    def repeated(self):
        """Why calls had to be made a second time."""
        return [call["at_first"] for call in self.calls if "at_first" in call]

    def times(self, key):
        # Where a call was repeated, the first one carried data and media at once.
        timed = self.calls[1:] or self.calls
        return [call[key] for call in timed if call.get(key) is not None]

    def text(self, footnote):
        if not self.todo:
            return f"{'not run' if self.skipped else '–'}{footnote(self.skipped or self.limit)}"
        if self.failure:
            failed = sum(not call["ok"] for call in self.calls)
            return f"**{failed} of {len(self.calls)} failed**{footnote(self.failure)}"
        if self.repeated:
            again = footnote(f"made a second time: {self.repeated[0]}")
            return f"{self.say(self)}; {len(self.repeated)} of {len(self.calls)} again{again}"
        return self.say(self)

    def make(self, server, names, args):
        """Makes the calls. One that fails is made once more, and that is said; if it fails again it is the last."""
        for number in range(1 + self.more):
            result = self.call(server, number, names, args)
            if not result["ok"]:
                result = {**self.call(server, number, names, args, "again"), "at_first": why(result)}
            self.calls.append(result)
            if not result["ok"]:
                return

    def call(self, server, number, names, args, *again):
        duration = 1 if number else self.duration or args.duration
        with log_file(*names, self.name, number, *again) as log:
            result = run(self.client(server.url, duration, number > 0), args.limit + duration, log)
        if result["ok"] and self.look:
            self.look(result, server)
        return result


def why(call):
    return f"{call.get('failed_step')}: {call.get('reason')}"


def make(command, cells, names, args):
    """The calls of all cells that share a server."""
    todo = [cell for cell in cells if cell.todo]
    if not todo:
        return
    with log_file(*names, "server") as log:
        try:
            server = Server(command, log)
        except (OSError, ValueError) as error:
            for cell in todo:
                cell.calls.append({"ok": False, "failed_step": "server", "reason": str(error)})
            return
        with server:
            for cell in todo:
                cell.make(server, names, args)
                print(f"  {cell.name}: {cell.failure or cell.say(cell)}", flush=True)


def spread(times):
    if not times:
        return "ok"
    most = f" (at most {max(times):.0f})" if len(times) > 1 else ""
    return f"{statistics.median(times):.0f} ms{most}"


def pictures(call):
    return call.get("frames_decoded") or call.get("frames_received")


def say_data(cell):
    return spread(cell.times("connected_ms"))


def say_audio(cell):
    first = cell.calls[0]
    return f"{first.get('audio_frames') or first.get('audio_packets') or first.get('rtp_received')} packets"


def say_video(cell):
    first = cell.calls[0]
    there = f", {first['browser_decoded']} there" if "browser_decoded" in first else ""
    return f"{spread(cell.times('first_frame_ms'))}; {pictures(first)} pictures{there}"


def say_steady(cell):
    call = cell.calls[0]
    here = f"{pictures(call)} pictures"
    if call.get("longest_gap_ms") is not None:
        here += f", {call['longest_gap_ms']:.0f} ms"
    if "browser_decoded" in call:
        here += f"; there {call['browser_decoded']}, {call['browser_gap_ms']:.0f} ms"
    return here


def say_renegotiate(cell):
    call = cell.calls[0]
    steps = call["steps"]
    answered = max(step["answered_ms"] for step in steps)
    first = max(step.get("first_frame_ms", 0) for step in steps)
    return (f"{len(steps)} steps, each answered within {answered} ms and a picture within {first} ms more; "
            f"{call['messages_ok']} messages, {call['data_gap_ms']} ms")


def say_reload(cell):
    call = cell.calls[0]
    return f"connected again after {spread([call['connected_ms']])}; the first gone within {call['old_gone_ms']} ms"


SAY = {"data": say_data, "H.264": say_video, "VP8": say_video, "audio": say_audio}


def probe_times(result):
    """A probe's first decoded frame, counted from the answer as `connected_ms` is."""
    marks = result.get("timeline_ms") or {}
    first, up = marks.get("first_frame_decoded"), marks.get("dtls_connected")
    if first is not None and up is not None and result.get("connected_ms") is not None:
        result["first_frame_ms"] = first - up + result["connected_ms"]


def browser_side(result, server):
    """What the answering page saw of a call with video."""
    time.sleep(0.5)  # the page tells its server every 250 ms
    seen = server.stats()["callers"][-1]
    decoded, gap = seen.get("frames_decoded") or 0, seen.get("longest_gap_ms") or 0
    result.update(browser_decoded=decoded, browser_gap_ms=gap)
    if not decoded or gap > 1000:
        reason = f"the page decoded {decoded} pictures, with {gap} ms without one"
        result.update(ok=False, failed_step="video there", reason=reason)


def probed(peer, kind):
    """A look at a probe's result."""
    def look(result, server):
        probe_times(result)
        if peer.name.startswith("Chromium") and kind in ("H.264", "VP8"):
            browser_side(result, server)
        gap = result.get("longest_gap_ms") or 0
        if result["ok"] and gap > 1000:
            result.update(ok=False, failed_step="video", reason=f"no picture for {gap:.0f} ms")
    return look


def called(result, _server):
    """A look at the result of the others' clients."""
    if result.get("frames_same") == 0:
        result.update(ok=False, failed_step="video", reason="no picture came back as it was sent")


def cell(stack, peer, offers, kind, args, **more):
    """A call of a kind; `offers` is "we" or "they"."""
    theirs, ours = KINDS[kind]

    def client(url, duration, timed):
        # Timed pictures do not wait for the checks of the data channel.
        no_data = ["--no-data"] if timed and kind != "data" else []
        if offers == "they":
            return [*peer.command("client"), url, *theirs, "--duration", f"{duration:g}", *no_data]
        probe = [args.visavis, "probe", url, "--backend", stack, "--json", *ours]
        return [*probe, "--duration", f"{round(duration * 1000)}ms", *no_data]

    look = called if offers == "they" else probed(peer, kind)
    made = Cell(kind, client, more.pop("say", SAY[kind]), look, **more)
    if kind in peer.limits:
        made.limit = peer.limits[kind]
    elif peer.missing:
        made.skipped = f"{peer.name} is not installed: {peer.missing}"
    elif offers == "we" and kind in ("H.264", "VP8") and not args.encoders.get(kind):
        made.skipped = f"this build cannot encode {kind}; `--features libvpx` can"
    return made
