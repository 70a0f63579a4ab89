"""The other people's stacks: how they are run, and what there is of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent
WORK = ROOT / "target" / "interop"
PACKAGES = WORK / "python"
STACKS = ["str0m", "webrtc-rs"]
# Each kind with the options of the others' clients, and of `visavis probe`.
KINDS = {
    "data": ([], []),
    "H.264": (["--video", "h264"], ["--video", "--video-codec", "h264"]),
    "VP8": (["--video", "vp8"], ["--video", "--video-codec", "vp8"]),
    "audio": (["--audio"], ["--audio"]),
}
CHROMIUM = os.environ.get("CHROMIUM", "chromium")


class Peer:
    """Somebody else's stack."""

    def __init__(self, name, command, probe, install, note, limits=None):
        self.name, self.command, self.probe, self.install, self.note = name, command, probe, install, note
        self.limits = limits or {}  # what it cannot do, by kind
        self.version = None
        self.missing = None

    def look(self):
        """Finds the version, or why there is none."""
        if self.command("client")[0] == "node" and not shutil.which("node"):
            self.missing = "there is no node"
            return
        try:
            done = subprocess.run(self.probe, capture_output=True, text=True, timeout=30, env=environment(), cwd=HERE)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.missing = str(error)
            return
        if done.returncode:
            said = [line for line in done.stderr.strip().splitlines() if "Error" in line]
            self.missing = said[0] if said else f"{self.probe[0]} exited with {done.returncode}"
        else:
            self.version = done.stdout.strip()

    def fetch(self):
        """Installs it, if that is ours to do."""
        if not self.install:
            return
        try:
            subprocess.run(list(map(str, self.install)), timeout=300, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"interop: {self.name} could not be installed: {error}", file=sys.stderr)


PEERS = [
    Peer(
        "Chromium",
        lambda role: ["node", HERE / "chromium" / f"{role}.mjs"],
        [CHROMIUM, "--version"],
        None,
        "The page draws pictures with their number on a canvas and reads the numbers of those that come back; its "
        "sound is the browser's fake microphone. As the answerer it sends each received track back, decoded and "
        "encoded again.",
    ),
    Peer(
        "Chromium, mDNS",
        lambda role: ["node", HERE / "chromium" / f"{role}.mjs", "--mdns"],
        [CHROMIUM, "--version"],
        None,
        "The same with candidates as a browser sends them by default: names under .local in place of addresses.",
        {"audio": "Chromium shows addresses to whoever may use the microphone, so its sound cannot go with mDNS"},
    ),
    Peer(
        "aiortc",
        lambda role: [sys.executable, HERE / "aiortc" / f"{role}.py"],
        [sys.executable, "-c",
         "import aiortc, av, aiohttp, numpy; print(aiortc.__version__, 'with PyAV', av.__version__)"],
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-script-location",
         "--root-user-action=ignore", "--upgrade", "--target", PACKAGES, "-r",
         HERE / "aiortc" / "requirements.txt"],
        "The client draws and reads numbered pictures. As the answerer it decodes what comes in and encodes it again.",
    ),
    Peer(
        "libdatachannel",
        lambda role: ["node", HERE / "libdatachannel" / f"{role}.mjs"],
        ["node", HERE / "libdatachannel" / "version.mjs"],
        ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", HERE / "libdatachannel"],
        "It has no codecs. The client sends a second of coded video again and again, and silence in Opus, and compares "
        "the pictures that come back byte by byte; as the answerer it sends RTP back as it came.",
    ),
]


def environment():
    paths = [str(PACKAGES), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
