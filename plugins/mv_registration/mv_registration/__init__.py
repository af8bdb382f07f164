"""Rigid and affine registration."""
