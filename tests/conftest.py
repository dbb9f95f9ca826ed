"""Settings that all tests share."""

from hypothesis import settings

# other programs may hold the processor; every run draws the same cases, so that none fails by chance
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")
