"""Compiled layers that make small networks quick on a CPU."""
