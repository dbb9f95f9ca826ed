"""A person's own training, run as a command: ``--command "python train.py --depth {depth} ..."``."""
