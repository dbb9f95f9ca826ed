"""A user's own training, run as a command: ``--command "python train.py --depth {depth} ..."``."""
