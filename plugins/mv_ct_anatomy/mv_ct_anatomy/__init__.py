"""Anatomy of a CT from densities and shapes."""
