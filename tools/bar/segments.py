"""Segments of other programs: every SEG of the corpora, and every coding there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.io.derived import Target, describe, read_dataset
from medviewer.io.label_file import LabelFile
from medviewer.io.load_segments import READ, SegmentRequest
from medviewer.io.seg_planes import own_grid, read_planes
from tests import seg_makers
from tools.bar.bar import CTX, Bench, Figure, row

#: Of 35 in the corpora that the bar was set on.
LEAST: Final = 30 / 35


@row("R-10", "SEGs of others become masks")
def segs_become_masks(bench: Bench) -> Figure:
    """Each becomes masks on the grid that it describes, or is refused by name; codings made here become equal masks."""
    masks, refused = 0, []
    for path, target in _segs(bench.corpora):
        try:
            masks += bool(_read(bench, path, target).segments)
        except MedViewerError as error:
            refused.append(f"{path.stem} {error.code}" if error.text and error.hint else f"{path.stem} silent")
    equal, codings = 0, seg_makers.codings(bench.folder / "segs")
    for path in codings:
        equal += seg_makers.is_right(_read(bench, path, seg_makers.TARGET))
    total = masks + len(refused)
    figure = f"{masks}/{total} become masks, refused: {refused or 'none'}; {equal}/{len(codings)} codings equal"
    named = not any(text.endswith("silent") for text in refused)
    # The share is one of all corpora; the few of a sample say nothing about it.
    enough = masks >= (1 if bench.sample else LEAST * total)
    return Figure(figure, enough and named and equal == len(codings))


def _read(bench: Bench, path: Path, target: Target) -> LabelFile:
    found = bench.worker.call(READ, SegmentRequest(path, target), CTX, time_limit=60.0)
    assert isinstance(found, LabelFile)
    return found


def _segs(paths: tuple[Path, ...]) -> Iterator[tuple[Path, Target]]:
    """Yield every segmentation with the image that it is for: one on the grid that its frames span."""
    for path in paths:
        if b"1.2.840.10008.5.1.4.1.1.66." not in path.read_bytes()[:4096]:
            continue
        dataset = read_dataset(path)
        try:
            ref = describe(dataset, path)
        except MedViewerError:
            continue
        uid = ref.series_uids[0] if ref.series_uids else ""
        target = Target(Geometry((1, 1, 1), (1, 1, 1)), uid, ref.frame_of_reference_uid, ref.patient_id, threshold=0.5)
        try:
            grid = own_grid(read_planes(dataset, int(dataset.get("NumberOfFrames", 1) or 1), path.name), path.name)
        except MedViewerError:
            grid = target.geometry
        yield path, replace(target, geometry=grid)
