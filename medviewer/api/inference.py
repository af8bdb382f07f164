"""Helpers for plugins that compute: devices, models, masks in mm, the patient's axes, the chest. Re-exports only."""

from medviewer.ai.body import find_body
from medviewer.ai.card import Label, ModelCard, read_card
from medviewer.ai.classifier import Classification, classify
from medviewer.ai.coarse_ct import AIR_HU, SOFT_HU, CoarseCt
from medviewer.ai.device import choose_device, free_memory, named_memory_errors
from medviewer.ai.hippocampus import (
    RIGHT_HIPPOCAMPUS,
    Hippocampi,
    find_hippocampi_in_head,
    find_hippocampus_in_crop,
    is_hippocampus_crop,
    refuse_hippocampus_size,
)
from medviewer.ai.infer import infer
from medviewer.ai.lungs import Lungs, find_lungs
from medviewer.ai.masks import (
    bounding_slices,
    closed,
    components,
    dilated,
    eroded,
    fine_box,
    grown_within,
    holes,
    largest_component,
    opened,
    slice_holes,
    touching,
)
from medviewer.ai.models import Model, open_model
from medviewer.ai.nodules import Nodule, find_nodules, painted
from medviewer.ai.patient_grid import PatientGrid, block_mean, refine
from medviewer.ai.pieces import Piece, pieces_of
from medviewer.ai.pleura import convex_hull
from medviewer.ai.postprocess import postprocess, suppress_boxes
from medviewer.ai.predictor import Prediction, PredictOptions, predict, predict_cases
from medviewer.ai.prompted import classic_session, click_session
from medviewer.ai.quality import quality_flags
from medviewer.ai.run_plan import RunPlan, plan_run
from medviewer.ai.sliding_window import sliding_window
from medviewer.ai.weights import ModelStore

__all__ = [
    "AIR_HU",
    "RIGHT_HIPPOCAMPUS",
    "SOFT_HU",
    "Classification",
    "CoarseCt",
    "Hippocampi",
    "Label",
    "Lungs",
    "Model",
    "ModelCard",
    "ModelStore",
    "Nodule",
    "PatientGrid",
    "Piece",
    "PredictOptions",
    "Prediction",
    "RunPlan",
    "block_mean",
    "bounding_slices",
    "choose_device",
    "classic_session",
    "classify",
    "click_session",
    "closed",
    "components",
    "convex_hull",
    "dilated",
    "eroded",
    "find_body",
    "find_hippocampi_in_head",
    "find_hippocampus_in_crop",
    "find_lungs",
    "find_nodules",
    "fine_box",
    "free_memory",
    "grown_within",
    "holes",
    "infer",
    "is_hippocampus_crop",
    "largest_component",
    "named_memory_errors",
    "open_model",
    "opened",
    "painted",
    "pieces_of",
    "plan_run",
    "postprocess",
    "predict",
    "predict_cases",
    "quality_flags",
    "read_card",
    "refine",
    "refuse_hippocampus_size",
    "slice_holes",
    "sliding_window",
    "suppress_boxes",
    "touching",
]
