"""Every parser of phiscale under random and damaged input.

An input is either accepted with a right value, or refused by one of phiscale's own errors: a single printable line of
at most 400 letters. Never another exception, never more than some seconds.

``tests/fuzz/test_parsers.py`` runs the same inputs every time. ``python -m tests.fuzz --minutes 30`` runs new ones.
"""
