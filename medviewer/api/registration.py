"""Alignment for plugins: rigid and affine registration and its quality. Re-exports only."""

from medviewer.registration.quality import corner_error_mm, dice, jacobian_min
from medviewer.registration.register import Metric, Model, Registration, RegistrationSettings, Start, register

__all__ = [
    "Metric",
    "Model",
    "Registration",
    "RegistrationSettings",
    "Start",
    "corner_error_mm",
    "dice",
    "jacobian_min",
    "register",
]
