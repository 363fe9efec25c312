"""Leaves, standard library only."""
