"""Runs a command for a process. When that process ends, however it ends, the command and everything it started end too.

Not for users: ``objectives/command/running.py`` runs this file by its path, as the first process of a session, with the
standard library alone. Standard input is a pipe that the other process holds open while it runs. What the command
writes to standard output goes to standard error, which is its log, and the end of it to standard output.
"""

import contextlib
import os
import signal
import sys
import threading

_END = 2**16
"""Bytes of the output that are passed on, from its end."""
_PATIENCE = 1.0
"""Seconds in which the output must end after the command: a process that it left running may hold the pipe open."""
_SIGNALLED = 128
"""Added to the number of the signal that ended the command, as shells do."""


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _copy(pipe: int, end: bytearray) -> None:
    while piece := os.read(pipe, _END):
        with contextlib.suppress(OSError):  # a full disk ends the log, not the training
            os.write(2, piece)
        end += piece
        del end[:-_END]


def main(words: list[str]) -> int:
    """Run the command. 127 where there is no such program."""
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
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    copying.join(_PATIENCE)
    os.write(1, end)
    return status if status >= 0 else _SIGNALLED - status


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
