"""Runners of the models of the store."""
