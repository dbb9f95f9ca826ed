"""Settings that all tests share."""

import signal

from hypothesis import settings

# started in the background of a shell, Python ignores Ctrl-C, and so would every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)

# other programs may hold the processor; every run draws the same cases, so that none fails by chance
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")
