"""Alignment of two volumes in torch, and how good it is. torch is imported inside functions."""
