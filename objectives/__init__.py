"""How good are these constants? From a network spec and images to a measured score."""

from phiscale.no_command import refuse_to_run

refuse_to_run(__name__)
