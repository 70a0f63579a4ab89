"""Servers and clients, each with a log of what it said."""

import json
import os
import select
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from .peers import WORK, environment


def log_file(*names):
    name = "-".join(map(str, names)).lower().replace(".", "").replace(", ", "-").replace(" ", "-")
    path = WORK / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w")


def start(command, log):
    log.write(f"$ {' '.join(map(str, command))}\n")
    log.flush()
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
        env=environment(), start_new_session=True,
    )


def end(process):
    """Asks the process to end, and makes it after 5 s, with what it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    process.stdout.close()


def run(command, limit, log):
    """The JSON line that a client prints."""
    process = start(command, log)
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return {"ok": False, "failed_step": "time limit", "reason": f"not done within {limit} s"}
    finally:
        end(process)
    log.write(out)
    try:
        result = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"ok": False, "failed_step": "client", "reason": f"exited with {process.returncode} and no result"}
    if result["ok"] != (process.returncode == 0):
        return {**result, "ok": False, "failed_step": "exit code", "reason": f"it is {process.returncode}"}
    return result


class Server:
    """A server that says where it listens."""

    def __init__(self, command, log):
        self.process = start(command, log)
        deadline = time.monotonic() + 30
        text = ""
        while '"listening"' not in text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, left))
            line = self.process.stdout.readline() if ready else ""
            if not line:
                end(self.process)
                raise OSError(f"{Path(str(command[0])).name} did not say where it listens")
            text += line
        self.url = json.loads(text.strip().splitlines()[-1])["listening"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)

    def stats(self):
        with urllib.request.urlopen(f"{self.url}/stats", timeout=5) as response:
            return json.load(response)


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
