"""Measurements that are too long for tests; each file names the command that repeats it."""
