"""Runs a command for a process. When that process ends, however it ends, the command and everything it started end too.

Not for users: ``objectives/command/running.py`` runs this file by its path, as the first process of a session, with the
standard library alone. Standard input is a pipe that the other process holds open while it runs. What the command
writes to standard output goes to standard error, which is its log, and the end of it to standard output.

On Linux the processes that the command started in sessions of their own end too; elsewhere those of its own session.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

_END = 2**16
"""Bytes of the output that are passed on, from its end."""
_PATIENCE = 1.0
"""Seconds in which the output must end after the command: a process that it left running may hold the pipe open."""
_SIGNALLED = 128
"""Added to the number of the signal that ended the command, as shells do."""
_GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL."""
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux: a process whose parent has ended becomes a child of this one. Source: prctl(2)."""
_ending = threading.Lock()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    _end_all()
    os.killpg(0, signal.SIGKILL)


def _end_all() -> None:
    """End every process that comes from this one, on Linux."""
    with _ending:
        begun, asked = time.monotonic(), set[int]()
        # A process whose parent ends while /proc is read can be missed once.
        while found := _descendants() or _descendants():
            seconds = time.monotonic() - begun
            if seconds > _GRACE + _PATIENCE:
                return
            for process in found if seconds > _GRACE else found - asked:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL if seconds > _GRACE else signal.SIGTERM)
            asked |= found
            time.sleep(0.02)


def _descendants() -> set[int]:
    """The processes that come from this one and have not ended; none where there is no /proc as on Linux."""
    children: dict[int, list[int]] = {}
    ended = {os.getpid()}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = file.read_bytes().rpartition(b")")[2].split()[:2]
            process = int(file.parent.name)
            children.setdefault(int(parent), []).append(process)
            if state in b"ZX":
                ended.add(process)
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return {*found} - ended


def _copy(pipe: int, end: bytearray) -> None:
    while piece := os.read(pipe, _END):
        with contextlib.suppress(OSError):  # a full disk ends the log, not the training
            os.write(2, piece)
        end += piece
        del end[:-_END]


def main(words: list[str]) -> int:
    """Run the command. 127 where there is no such program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reads, writes = os.pipe()
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    try:
        process = os.posix_spawnp(words[0], words, os.environ, file_actions=[nothing, (os.POSIX_SPAWN_DUP2, writes, 1)])
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode(errors="backslashreplace"))
        return 127
    os.close(writes)
    end = bytearray()
    copying = threading.Thread(target=_copy, args=(reads, end), daemon=True)
    copying.start()
    while (ended := os.wait())[0] != process:
        pass
    status = os.waitstatus_to_exitcode(ended[1])
    copying.join(_PATIENCE)
    _end_all()
    os.write(1, end)
    return status if status >= 0 else _SIGNALLED - status


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
