"""The commands people run; the only place where the packages are put together."""
