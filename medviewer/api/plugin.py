"""The plugin contract: what a task is, what it gets, what it returns. Values in, values out.

Version 1. Adding an optional field keeps it; anything else raises it, and the old one works for one more release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from medviewer.core.annotation import Box3D
from medviewer.core.finding import Finding, QualityFlag
from medviewer.core.geometry import Geometry
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Segment, Segmentation
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

API_VERSION = 1

Mask = npt.NDArray[np.bool_]
Input = Volume | Segmentation | tuple[Box3D, ...]
P = TypeVar("P", contravariant=True)

Kind = Literal["detection", "segmentation", "registration", "interactive", "classification", "enhancement"]
InputKind = Literal["volume", "segmentation", "boxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One ``[[task]]`` of a manifest, read without importing the plugin.

    Attributes
    ----------
    id : str
        Unique, letters, digits, ``_`` and ``.``; part of file names in exports.
    entry : str
        ``"module:Class"``.
    inputs : mapping of name to "volume", "segmentation" or "boxes"
    modalities : frozenset of str
        DICOM Modality (0008,0060); empty means any.
    body_parts : frozenset of str
        BodyPartExamined (0018,0015) values it is made for; empty means any. A series without the tag is not excluded.
    min_size : (int, int, int)
        Fewest voxels along (i, j, k).
    min_extent_mm : (float, float, float)
        Smallest field of view along (i, j, k) it makes sense on.
    pictures : bool
        Whether it also takes what has no depth: a single slice, pictures, the frames of a film, colours
        (`Volume.colors`).
    auto : bool or frozenset of str
        Whether Analyze runs it by itself: for all that it is made for, or for these DICOM modalities only.
    contrasts : frozenset of str
        Of MR, which it is made for: `T1`, `T2`, `FLAIR`. Empty means any.
    seconds_per_megavoxel : float
        Rough CPU time per million voxels, for the estimate before a run.
    order : int
        Lower runs first in Analyze.
    reaches : frozenset of "network", "programs", "files", "home"
        What it uses beyond the values that it is given, as its manifest says and users are shown; what is not declared
        is refused while it runs.
    model, model_version : str
        Folder and version of the model that it runs; empty for a plugin's own task.
    """

    id: str
    title: str
    kind: Kind
    entry: str
    inputs: Mapping[str, InputKind]
    description: str = ""
    modalities: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    min_size: tuple[int, int, int] = (1, 1, 1)
    min_extent_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pictures: bool = False
    lane: Literal["gpu", "cpu", "io"] = "gpu"
    license: str = "unknown"
    auto: bool | frozenset[str] = False
    contrasts: frozenset[str] = frozenset()
    seconds_per_megavoxel: float = 1.0
    order: int = 100
    reaches: frozenset[str] = frozenset()
    plugin: str = ""
    plugin_version: str = ""
    model: str = ""
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a task could run now; cheap to ask: no torch import, no download."""

    ok: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LabelResult:
    """Segments as a label map.

    Attributes
    ----------
    labels : uint16, shape (k, j, i)
        0 is background; other values belong to `segments`.
    geometry : Geometry
        LPS mm; may differ from the input's grid, the host resamples.
    flags : tuple of QualityFlag
        What is doubtful about it; one that names no segment is about all of them.
    """

    name: str
    labels: LabelArray
    geometry: Geometry
    segments: tuple[Segment, ...]
    flags: tuple[QualityFlag, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class BoxResult:
    """Findings with a place: boxes in LPS mm with label and score, best first."""

    name: str
    boxes: tuple[Box3D, ...]
    flags: tuple[QualityFlag, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TransformResult:
    """A registration, fixed -> moving in LPS mm (itk::Transform).

    Attributes
    ----------
    measures : mapping of str to float
        For example ``{"mutual information before": 0.31, "mutual information after": 0.74}``.
    """

    name: str
    transform: AffineTransform | DisplacementField
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FindingResult:
    """Classification: what is present in the whole image, and where the evidence is (0..1)."""

    name: str
    findings: tuple[Finding, ...]
    heatmap: Volume | None = None
    flags: tuple[QualityFlag, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class VolumeResult:
    """Another volume: a new image from a task of the kind enhancement, else a map shown over the image.

    A map holds a probability or an uncertainty, 0..1, and may have a grid of its own; its name says what it is.
    """

    name: str
    volume: Volume


Result = LabelResult | BoxResult | TransformResult | FindingResult | VolumeResult


class Task(Protocol[P]):
    """One run: values in, values out, in a worker. `params` is a frozen dataclass with defaults for all fields."""

    def check(self) -> Readiness:
        """Say whether it could run now."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: P) -> Sequence[Result]:
        """Compute; report progress often, it is also where cancel is noticed."""


class InteractiveSession(Protocol):
    """A promptable model bound to one volume."""

    prompts: frozenset[str]

    def add(self, ctx: JobContext, prompt: Prompt) -> tuple[Region, Mask]:
        """Take a prompt; return the box that changed and the object's mask inside it."""

    def undo(self) -> tuple[Region, Mask] | None:
        """Take the last prompt back; None when the session cannot."""

    def close(self) -> None:
        """Free what it holds."""


class InteractiveTask(Protocol[P]):
    """Opens sessions."""

    def check(self) -> Readiness:
        """Say whether it could run now."""

    def open(self, ctx: JobContext, volume: Volume, params: P) -> InteractiveSession:
        """Bind the model to a volume."""
