"""Scaling constants as data: the cost surface, scaling, counted cost, families and records. Standard library only."""
