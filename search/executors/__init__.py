"""Where evaluations run: in this process, in processes of this machine, or in a Ray cluster."""
