"""A multi-frame file as the source of a segmentation: its frames as if they were files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydicom import Dataset

#: Functional groups that highdicom looks for among those of all frames.
_COMMON: Final = ("PixelMeasuresSequence", "PlaneOrientationSequence")
#: Functional group, and what of it says where a frame lies.
_PLACE: Final = (
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ("PixelMeasuresSequence", "PixelSpacing"),
)
_OF_THE_FILE: Final = ("SOPInstanceUID", "FrameOfReferenceUID", "Rows", "Columns")


def frame_facts(dataset: Dataset, frame: int) -> Dataset:
    """Return where one frame of an enhanced file lies, with the elements of a single-frame image.

    Raises
    ------
    AttributeError, IndexError
        When the file has no such frame, or does not say.
    """
    from pydicom import Dataset

    facts = Dataset()
    for keyword in _OF_THE_FILE:
        setattr(facts, keyword, getattr(dataset, keyword))
    for sequence, keyword in _PLACE:
        setattr(facts, keyword, getattr(_group(dataset, frame, sequence), keyword))
    return facts


def _group(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    own, shared = dataset.PerFrameFunctionalGroupsSequence[frame], dataset.SharedFunctionalGroupsSequence[0]
    item: Dataset = (own if sequence in own else shared)[sequence].value[0]
    return item


def keep_frames(dataset: Dataset, frames: Sequence[int]) -> None:
    """Leave of a header the frames of one stack, in the order of its slices; in memory only.

    highdicom wants one place for each frame, and looks for some groups among the shared ones only. Frame numbers in
    what it makes are then those of the stack; `number_frames` makes them those of the file.
    """
    for sequence in _COMMON:
        if sequence not in dataset.SharedFunctionalGroupsSequence[0]:
            setattr(dataset.SharedFunctionalGroupsSequence[0], sequence, [_group(dataset, frames[0], sequence)])
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [per_frame[frame] for frame in frames]
    dataset.NumberOfFrames = len(frames)


def number_frames(seg: Dataset, frames: Sequence[int]) -> None:
    """Make the frames that a segmentation refers to those of the file that the stack was taken from."""
    # Frames of several segments at one place share the item that names their source.
    sources = {
        id(source): source
        for group in seg.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for source in derivation.SourceImageSequence
    }
    for source in sources.values():
        source.ReferencedFrameNumber = frames[int(source.ReferencedFrameNumber) - 1] + 1
