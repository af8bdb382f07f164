"""Torch helpers for tasks: devices, masks in millimetres, the chest on a CT. torch is imported inside functions."""
