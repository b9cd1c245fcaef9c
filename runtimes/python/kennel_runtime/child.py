"""Runs one child process as the instance: output passed on as it comes, signals forwarded, the end of stderr kept."""

import collections
import os
import select
import signal
import subprocess
import sys
import time

from .errors import ChildError, ScriptModeError

TAIL_BYTES = 1 << 16
# FailureReason shows the first 1,024 characters of the failure file; this leaves room for the command.
MESSAGE_CHARS = 640
# How long to wait for the end of stderr when a grandchild keeps it open.
DRAIN_SECONDS = 5
POLL_SECONDS = 0.2


class Runner:
    """Runs children one after another. `stopping` is set once SIGTERM or SIGINT has come."""

    def __init__(self):
        self.stopping = False
        self._starting = False
        self._child = None

    def handle_signals(self):
        """Forwards SIGTERM and SIGINT to the child that runs, from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)

    def _forward(self, number, _frame):
        self.stopping = True
        child = self._child
        if child is not None:
            child.send_signal(number)
        elif not self._starting:
            sys.exit(128 + number)

    def run(self, command, cwd, env=None, kind="ExecuteUserScriptError", stdout=None):
        """Runs `command` to its end; raises ChildError of that `kind` when its exit code is not 0."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._starting = True
        try:
            child = subprocess.Popen(command, cwd=cwd, env=env, stderr=subprocess.PIPE, stdout=stdout)
        except (OSError, ValueError) as error:
            raise ScriptModeError("cannot start `%s`: %s" % (command[0], error))
        finally:
            self._starting = False
        self._child = child
        if self.stopping:
            # The signal came between fork and here.
            child.terminate()
        tail = collections.deque()
        try:
            _pass_on(child, tail)
            code = child.wait()
        except BaseException:
            # A signal handler of the caller's raised.
            child.terminate()
            raise
        finally:
            self._child = None
            child.stderr.close()
        if code < 0:
            code = 128 - code
        if code != 0:
            text = b"".join(tail)[-TAIL_BYTES:].decode("utf-8", "replace")
            raise ChildError(kind, code, last_error(text), " ".join(command))


def _pass_on(child, tail):
    """Copies the child's stderr to ours as it comes and keeps the end of it, until the child has closed it.

    No thread: a signal that the kernel hands to another thread would not wake this one.
    """
    source = child.stderr.fileno()
    kept = 0
    end = None
    while end is None or time.monotonic() < end:
        if end is None and child.poll() is not None:
            end = time.monotonic() + DRAIN_SECONDS
        if not select.select([source], [], [], POLL_SECONDS)[0]:
            continue
        data = os.read(source, 1 << 15)
        if not data:
            return
        tail.append(data)
        kept += len(data)
        while kept - len(tail[0]) >= TAIL_BYTES:
            kept -= len(tail.popleft())
        try:
            while data:
                data = data[os.write(2, data):]
        except OSError:
            # Nobody reads our stderr any more; the child must not block for that.
            data = b""


def last_error(text):
    """The end of the last traceback in `text`, or its last lines, short enough for a FailureReason."""
    lines = [line.rstrip() for line in text.replace("\r", "\n").split("\n")]
    lines = [line for line in lines if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    lines = lines[starts[-1]:] if starts else lines[-10:]
    kept = []
    room = MESSAGE_CHARS
    for line in reversed(lines):
        if len(line) + 1 > room:
            if not kept:
                kept.append(line[:room])
            break
        kept.append(line)
        room -= len(line) + 1
    return "\n".join(reversed(kept))
