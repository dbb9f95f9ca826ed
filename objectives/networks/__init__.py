"""PyTorch networks from specs and from a person's own factory."""
