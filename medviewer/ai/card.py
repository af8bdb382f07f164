"""The card of a model: what it finds, on what, how it was made and how well it does. Plain JSON beside the weights.

A MedViewer model is a folder: ``model.json`` (this card), ``weights.safetensors``, and pictures for people
(``curves.png``, ``sample.png``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from medviewer.core.errors import TaskError

CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT = "medviewer-model"
FORMAT_VERSION = 1
#: A card is a few pages of text; more is not one.
MAX_BYTES = 4 << 20

Output = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One output of a model.

    Attributes
    ----------
    value : int
        Label value; for ``softmax`` the channel, 0 being the background, which is not listed.
    name : str
        As it stands in file names and lists: lower case, ``_`` between words.
    title : str
        As people read it.
    code : (value, scheme, meaning), optional
        For example ``("5204005", "SCT", "Putamen")``; side goes into the title and the `laterality`.
    laterality : "left", "right" or ""
    color : (r, g, b), 0..255, optional
    """

    value: int
    name: str
    title: str
    code: tuple[str, str, str] | None = None
    laterality: str = ""
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model is.

    Attributes
    ----------
    id, version, title, description : str
        `id` is the task's id: letters, digits, ``_`` and ``.``.
    network, arguments : str, mapping
        For `medviewer.ai.networks.build_network`.
    runner : str
        Which of the program's own runners turns the network's output into results: ``segmentation`` unless said
        otherwise. A card names no code.
    task : mapping
        What the list of tasks says of it beyond this card, by the keys of a plugin's manifest: ``kind``, ``auto``,
        ``order``, ``min_extent_mm``, ``min_size``, ``pictures``, ``seconds_per_megavoxel``.
    modalities, body_parts : sequence of str
        DICOM words; empty means any.
    channels : sequence of str
        One name per input image, for example ``["T1", "FLAIR"]``; other inputs of the network (prompts) not counted.
    spacing_mm : (k, j, i)
        Grid the network works on, axes of the patient (LPS) in array order; empty for the image's own.
    window : (k, j, i)
        Voxels of one window.
    intensity : mapping
        Scheme of `medviewer.ai.intensity.normalise`.
    output : "softmax" or "sigmoid"
    labels : sequence of Label
    postprocessing : sequence of mapping
        Named steps with their parameters, in order: ``{"step": "largest_component"}``.
    settings : mapping
        What only this model's task reads: thresholds, calibration.
    weights_sha256 : str
    license, credit, data, intended_use : str
    training : mapping
        ``command``, ``minutes``, ``steps``, ``device``, ``software``.
    metrics : sequence of mapping
        Rows of a table, each with what was measured, on how many held-out cases, and the figure.
    failures : sequence of str
        Where it is known to go wrong.
    """

    id: str
    version: str
    title: str
    network: str
    arguments: Mapping[str, Any]
    runner: str = "segmentation"
    task: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    modalities: Sequence[str] = ()
    body_parts: Sequence[str] = ()
    channels: Sequence[str] = ("image",)
    spacing_mm: Sequence[float] = ()
    window: Sequence[int] = ()
    intensity: Mapping[str, Any] = field(default_factory=lambda: {"kind": "zscore"})
    output: Output = "softmax"
    labels: Sequence[Label] = ()
    postprocessing: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    license: str = "unknown"
    credit: str = ""
    data: str = ""
    intended_use: str = "Research and education. Not a medical device."
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    failures: Sequence[str] = ()

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=1) + "\n"


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model's folder.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: missing, not a card, or of a newer format.
    """
    path = folder / CARD_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refused(path, "it is too large")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused(path, error.strerror or "it cannot be read") from error
    except ValueError as error:
        raise _refused(path, "it is not JSON") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise _refused(path, "it is not the card of a MedViewer model")
    if data.pop("format_version", None) != FORMAT_VERSION:
        raise _refused(path, "it was written by a newer version")
    known = {entry.name for entry in fields(ModelCard)}
    if unknown := sorted(set(data) - known):
        raise _refused(path, f"it has the unknown entry {unknown[0]!r}")
    try:
        labels = tuple(_label(entry) for entry in data.pop("labels", ()))
        return ModelCard(labels=labels, **data)
    except (TypeError, KeyError, ValueError) as error:
        raise _refused(path, str(error)) from error


def _label(entry: Mapping[str, Any]) -> Label:
    values = dict(entry)
    for name in ("code", "color"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    return Label(**values)


def _refused(path: Path, reason: str) -> TaskError:
    return TaskError(
        f"The model in {path.parent.name} cannot be used: {path.name}: {reason}.",
        hint="Import or download the model again.",
        code="E_MODEL_FILE",
    )
