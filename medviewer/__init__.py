"""MedViewer: open a study, analyze it on your own machine, correct the masks, export a labelled dataset."""

from __future__ import annotations

__version__ = "0.1.0"
