"""A message for those who run a module that is not a command: Python would silently do nothing."""

from __future__ import annotations

import sys


def refuse_to_run(package: str) -> None:
    """End with one sentence and status 2 where Python has just been asked to run a module of the package (``-m``)."""
    is_meant = any(word == package or word.startswith(f"{package}.") for word in sys.orig_argv)
    if is_meant and sys.argv[:1] == ["-m"]:  # as it stands until the module has been found
        sys.stderr.write(f"error: the modules of {package} are no commands; phiscale --help lists those that are\n")
        sys.exit(2)
