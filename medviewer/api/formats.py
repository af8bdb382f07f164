"""Helpers for plugins that run models of other programs' formats. Re-exports only."""

from medviewer.ai.formats import read_any_card
from medviewer.ai.formats.nnunet import read_card as read_nnunet_card
from medviewer.ai.formats.totalsegmentator import part_values as totalsegmentator_parts
from medviewer.ai.nninteractive import nninteractive_session
from medviewer.ai.nninteractive_input import prompt_marks
from medviewer.ai.nnunet import NnunetModel, NnunetOptions, open_nnunet, predict_nnunet

__all__ = [
    "NnunetModel",
    "NnunetOptions",
    "nninteractive_session",
    "open_nnunet",
    "predict_nnunet",
    "prompt_marks",
    "read_any_card",
    "read_nnunet_card",
    "totalsegmentator_parts",
]
