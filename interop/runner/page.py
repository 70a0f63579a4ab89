"""docs/interop.md."""

import os
import platform
import re
from pathlib import Path

from .peers import PEERS, ROOT
from .processes import said


def locked(name):
    """A crate's version in Cargo.lock."""
    found = re.search(rf'name = "{name}"\nversion = "([^"]+)"', (ROOT / "Cargo.lock").read_text())
    return found[1] if found else "?"


class Notes:
    """Footnotes, each text once."""

    def __init__(self):
        self.texts = []

    def __call__(self, why):
        why = " ".join(str(why).split()).replace("|", "\\|")
        if why not in self.texts:
            self.texts.append(why)
        return f"[^{self.texts.index(why) + 1}]"

    def lines(self):
        return ["", *(f"[^{number}]: {why}" for number, why in enumerate(self.texts, 1))] if self.texts else []


def table(head, rows):
    return [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]


def ends(stack, peer, offers):
    names = [f"visavis, {stack}", peer]
    return names if offers == "we" else names[::-1]


def versions(args):
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return [
        ("visavis", f"{said(args.visavis, '--version')}, with str0m {locked('str0m')} and webrtc {locked('webrtc')}"),
        *((peer.name, peer.version or f"not installed: {peer.missing}") for peer in PEERS if "," not in peer.name),
        ("Node, Python", f"{said('node', '--version')}, {platform.python_version()}"),
        ("System", f"{system[1] if system else platform.system()}, Linux {platform.release()}, {os.cpu_count()} cores"),
    ]


def page(matrix, in_call, args):
    notes = Notes()
    text = lambda cells: [cell.text(notes) for cell in cells]
    lines = [
        "# Interop",
        "",
        "Both stacks against other people's, on loopback, in both roles. Made by `interop/run --install VISAVIS`; "
        "do not edit.",
        "",
        f"Each cell is a call of {args.duration:g} s in which a data channel's texts and bytes of 1,000 and 60,000 "
        "bytes came back whole and in order, and the media named on top came back as well: pictures of 640x480 at 30 "
        "a second, readable, in order, no second without one; sound that is not silent, where the other side can tell. "
        "Times are counted from the offerer's having the answer, and are medians (and the most) of "
        f"{args.calls} more calls each: under *Data* until the connection is up, under *Video H.264* until the first "
        "picture is decoded, with no data channel.",
        "",
        *table(
            ["Offers", "Answers", "Data", "Video H.264", "Video VP8", "Audio"],
            [[*ends(*key), *text(cells)] for key, cells in matrix.items()],
        ),
    ]
    if in_call:
        lines += [
            "",
            "## In a call with Chromium",
            "",
            f"**{args.steady:g} s** of H.264, 640x480 at 30 a second, both ways: the pictures that were decoded, and "
            "the longest time between two. **Renegotiation** from the browser, in one call that begins with a data "
            "channel: `addTrack`, the direction to `inactive` and back, `removeTrack`, `addTrack` again, which makes "
            "another m-line, and `stop`. Each time numbered pictures come back, or stop coming, while messages flow: "
            "how many, and the longest time between two. What it does not do is `addTrack` after `stop`: the browser "
            "then uses the rejected m-line again under a new mid, which visavis refuses. **Reload**: the page is "
            "loaded anew in mid-call and calls again at once; when the second call is up, and when the server has let "
            "go of the first.",
            "",
            *table(
                ["Stack", f"{args.steady:g} s, Chromium offers", f"{args.steady:g} s, visavis offers",
                 "Renegotiation", "Reload"],
                [[stack, *text(cells)] for stack, cells in in_call.items()],
            ),
        ]
    lines += [*notes.lines(), "", "## What each peer does", ""]
    lines += [f"- **{peer.name}**: {peer.note}" for peer in PEERS]
    lines += ["", "## Versions", "", *table(["", ""], versions(args))]
    return "\n".join(lines) + "\n"
