"""How good are these constants? From a network spec and images to a measured score."""
