"""nnU-Net raw dataset: images, one label map each, and one list of labels for all cases."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from medviewer.core.errors import ExportError
from medviewer.core.params import Choice, Doc, Range
from medviewer.core.segmentation import Segment
from medviewer.core.version import __version__
from medviewer.core.volume import VoxelArray
from medviewer.export.case import Case
from medviewer.export.exporter import Check, Written, exporter
from medviewer.export.names import safe_name, unique_names
from medviewer.export.nifti_file import check_nifti, write_nifti
from medviewer.export.nnunet_rules import FILE_ENDING, check_raw_dataset
from medviewer.export.upright import upright
from medviewer.io.presets import Preset, all_presets
from medviewer.jobs.job import JobContext

_MAPPING = "medviewer_export.json"
#: Names with a meaning of their own in nnU-Net's dataset.json.
_RESERVED = {"background", "ignore"}


@dataclass(frozen=True, slots=True)
class NnunetOptions:
    """Options of the nnU-Net export."""

    dataset_id: Annotated[int, Range(1, 999), Doc("Number of the dataset")] = 1
    name: Annotated[str, Doc("Name of the dataset")] = "MedViewer"
    overlap: Annotated[
        Literal["smaller", "priority", "refuse"],
        Choice(("smaller", "priority", "refuse")),
        Doc("Where segments overlap: the smaller one wins, the one higher up in the list wins, or refuse"),
    ] = "smaller"


def _folder_name(options: NnunetOptions) -> str:
    if not 1 <= options.dataset_id <= 999:
        raise ExportError("The number of an nnU-Net dataset is 1 to 999.", hint="Choose another number.")
    return f"Dataset{options.dataset_id:03d}_{safe_name(options.name)}"


def _preset(cases: Sequence[Case]) -> Preset | None:
    """Return the smallest preset that all segments are of, if its values are those nnU-Net can have."""
    segments = [segment for case in cases for segment in case.segments]
    found = [
        preset
        for preset in all_presets()
        if preset.describes(segments) and sorted(preset.terms) == list(range(1, len(preset.terms) + 1))
    ]
    return min(found, key=lambda preset: len(preset.terms), default=None)


def _vocabulary(cases: Sequence[Case]) -> dict[str, int]:
    """Return label name -> value, consecutive from 1: of the preset, or in the order of their first appearance.

    A preset gives all its labels, so that every export of the same work has the same numbers. Instances are one label.
    """
    preset = _preset(cases)
    if preset is not None:
        return preset.vocabulary
    names = list(dict.fromkeys(segment.label for case in cases for segment in case.segments))
    reserved = [name for name in names if name.lower() in _RESERVED]
    if reserved:
        raise ExportError(
            f"nnU-Net gives the name “{reserved[0]}” a meaning of its own.", hint="Rename that segment.", code="E_NAME"
        )
    if not names:
        raise ExportError("There are no segments to export.", hint="Make a segment first.", code="E_EMPTY")
    return {name: n + 1 for n, name in enumerate(names)}


def _by_precedence(case: Case, options: NnunetOptions) -> list[Segment]:
    """Return the segments of a case, those that win where they overlap first: a nodule stays whole in its lung."""
    if options.overlap != "smaller":
        return list(case.segments)
    return sorted(case.segments, key=lambda segment: int(np.count_nonzero(case.mask(segment))))


def _labels(case: Case, vocabulary: dict[str, int], options: NnunetOptions) -> VoxelArray:
    """Return the label map (k, j, i) of a case; uint8 where that is enough."""
    labels: VoxelArray = np.zeros(case.geometry.shape, dtype=np.uint8 if len(vocabulary) < 256 else np.uint16)
    for segment in reversed(_by_precedence(case, options)):
        labels[case.mask(segment)] = vocabulary[segment.label]
    return labels


def _overlaps(case: Case, options: NnunetOptions) -> list[tuple[str, str, int]]:
    """Return which segments of different names share voxels, and how many; the first of a pair wins."""
    found = []
    for upper, lower in itertools.combinations(_by_precedence(case, options), 2):
        if upper.group != lower.group and upper.label != lower.label:
            shared = int(np.count_nonzero(case.mask(upper) & case.mask(lower)))
            if shared:
                found.append((upper.name, lower.name, shared))
    return found


_RGB = ("R", "G", "B")


def _channels(case: Case) -> tuple[str, ...]:
    """Return the names of the channels of a case: its colours, or its modality."""
    return _RGB if case.volume.colors is not None else (case.volume.modality or "image",)


def _images(case: Case) -> list[VoxelArray]:
    """Return the voxels (k, j, i) of every channel."""
    colors = case.volume.colors
    return [case.volume.array] if colors is None else [np.ascontiguousarray(colors[..., n]) for n in range(3)]


def _check_cases(cases: Sequence[Case]) -> tuple[str, ...]:
    """Return the channels of all cases; refuse what nnU-Net could not read."""
    channels = {_channels(case) for case in cases}
    modalities = sorted("RGB" if names == _RGB else names[0] for names in channels)
    if len(modalities) > 1:
        raise ExportError(
            f"The cases have different modalities ({', '.join(modalities)}); nnU-Net needs one per channel.",
            hint="Export them as separate datasets.",
            code="E_MODALITY",
        )
    for case in cases:
        array: VoxelArray = case.volume.array
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ExportError(
                f"The image of {case.id} has voxels that are no numbers, which nnU-Net refuses.",
                hint="Export as NIfTI instead.",
                code="E_NAN",
            )
    return channels.pop()


def _verify(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NnunetOptions) -> list[Check]:
    cases = [upright(case) for case in cases]
    target = folder / _folder_name(options)
    vocabulary = _vocabulary(cases)
    checks: list[Check] = []
    stored = json.loads((target / "dataset.json").read_text(encoding="utf-8"))["labels"]
    checks.append(Check("names", stored == {"background": 0} | vocabulary, f"{len(vocabulary)} labels"))
    for n, (case, name) in enumerate(zip(cases, unique_names(c.id for c in cases), strict=True)):
        ctx.progress(n / len(cases), f"Checking {case.id}")
        label = target / "labelsTr" / f"{name}{FILE_ENDING}"
        for channel, array in enumerate(_images(case)):
            image = target / "imagesTr" / f"{name}_{channel:04d}{FILE_ENDING}"
            checks.append(check_nifti(array, case.geometry, image, f"{case.id}: image {channel}"))
        checks.append(check_nifti(_labels(case, vocabulary, options), case.geometry, label, f"{case.id}: labels"))
    return checks + check_raw_dataset(target)


@exporter("nnunet", "nnU-Net raw dataset", accepts=["volume", "segments"], verify=_verify)
def write(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NnunetOptions) -> Written:
    """Write ``DatasetNNN_Name`` with imagesTr, labelsTr, dataset.json and where everything came from."""
    # nnU-Net reads no sheared grid.
    cases = [upright(case) for case in cases]
    channels = _check_cases(cases)
    vocabulary = _vocabulary(cases)
    overlaps = {case.id: found for case in cases if (found := _overlaps(case, options))}
    if overlaps and options.overlap == "refuse":
        case_id, ((upper, lower, shared), *_) = next(iter(overlaps.items()))
        raise ExportError(
            f"“{upper}” and “{lower}” of {case_id} overlap in {shared} voxels; nnU-Net has one label per voxel.",
            hint="Remove the overlap, export fewer segments, or let the smaller one or the order of the list decide.",
            code="E_OVERLAP",
        )
    target = folder / _folder_name(options)
    for sub in ("imagesTr", "labelsTr"):
        (target / sub).mkdir(parents=True)
    files: list[Path] = []
    names = unique_names(case.id for case in cases)
    for n, (case, name) in enumerate(zip(cases, names, strict=True)):
        ctx.progress(n / len(cases), f"{case.id}: image")
        how = {"in_patient": case.volume.in_patient, "in_mm": case.volume.in_mm}
        for channel, array in enumerate(_images(case)):
            files.append(target / "imagesTr" / f"{name}_{channel:04d}{FILE_ENDING}")
            write_nifti(array, case.geometry, files[-1], **how)
        ctx.progress((n + 0.7) / len(cases), f"{case.id}: labels")
        files.append(target / "labelsTr" / f"{name}{FILE_ENDING}")
        write_nifti(_labels(case, vocabulary, options), case.geometry, files[-1], **how)
    files += _write_json(target, cases, names, vocabulary, channels, options, overlaps)
    return Written(tuple(files), tuple(_notes(cases, vocabulary, overlaps)))


def _write_json(
    target: Path,
    cases: Sequence[Case],
    names: Sequence[str],
    vocabulary: dict[str, int],
    channels: Sequence[str],
    options: NnunetOptions,
    overlaps: dict[str, list[tuple[str, str, int]]],
) -> list[Path]:
    dataset = {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": {"background": 0} | vocabulary,
        "numTraining": len(cases),
        "file_ending": FILE_ENDING,
        "name": options.name,
        "description": "Exported by MedViewer",
        "release": __version__,
    }
    mapping = {
        "program": "MedViewer",
        "medviewer": __version__,
        "labels": vocabulary,
        "overlaps": {
            case_id: [{"kept": upper, "cut": lower, "voxels": shared} for upper, lower, shared in found]
            for case_id, found in overlaps.items()
        },
        "cases": [{"name": name} | case.provenance() for name, case in zip(names, cases, strict=True)],
    }
    paths = [target / "dataset.json", target / _MAPPING]
    for path, content in zip(paths, (dataset, mapping), strict=True):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        # Half a character, out of a file's name, becomes the escape that JSON has for it.
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return paths


def _notes(
    cases: Sequence[Case], vocabulary: dict[str, int], overlaps: dict[str, list[tuple[str, str, int]]]
) -> list[str]:
    notes = [
        f"{case_id}: “{upper}” was kept where it overlaps “{lower}” ({shared} voxels)."
        for case_id, found in overlaps.items()
        for upper, lower, shared in found
    ]
    preset = _preset(cases)
    if preset is not None:
        notes.append(f"Labels have the values of the preset “{preset.name}”.")
    folded: dict[str, str] = {}
    for name in vocabulary:
        other = folded.setdefault(" ".join(name.lower().split()), name)
        if other != name:
            notes.append(f"“{other}” and “{name}” are different labels; rename one if they mean the same.")
    for case in cases:
        absent = [name for name in vocabulary if name not in {s.label for s in case.segments}]
        if absent and preset is None:
            notes.append(f"{case.id} has no {', '.join(f'“{name}”' for name in absent)}: background there.")
        notes += [f"{case.id}: {warning.text}" for warning in case.volume.warnings]
    return notes
