"""DICOM SEG files written in code: every kind and coding of the same masks."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from medviewer.core.geometry import Geometry
from medviewer.io.derived import Target
from medviewer.io.label_file import LabelFile

SEG = UID("1.2.840.10008.5.1.4.1.1.66.4")
LABELMAP = UID("1.2.840.10008.5.1.4.1.1.66.7")
EXPLICIT = UID("1.2.840.10008.1.2.1")
BIG = UID("1.2.840.10008.1.2.2")
DEFLATED = UID("1.2.840.10008.1.2.1.99")
RLE = UID("1.2.840.10008.1.2.5")
DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")
#: 7 columns and 5 rows: frames do not end on bytes.
GRID = Geometry((7, 5, 6), (0.7, 0.8, 2.5), (-10.0, 20.0, -300.0), (0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
TARGET = Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "0815")
HALF = replace(TARGET, threshold=0.5)


def masks(overlap: bool = True) -> dict[int, np.ndarray]:
    random = np.random.default_rng(2)
    first = random.random(GRID.shape) < 0.4
    second = random.random(GRID.shape) < 0.3
    first[0] = second[0] = first[3] = second[4] = False
    return {1: first, 2: second if overlap else second & ~first}


def item(**values: object) -> Sequence:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return Sequence([made])


def frame_item(k: int, segment: int | None, geometry: Geometry) -> Dataset:
    made = Dataset()
    position = [float(v) for v in np.round(geometry.index_to_lps((0, 0, k)), 6)]
    made.PlanePositionSequence = item(ImagePositionPatient=position)
    if segment is not None:
        made.SegmentIdentificationSequence = item(ReferencedSegmentNumber=segment)
    return made


def segment_item(number: int) -> Dataset:
    made = Dataset()
    made.SegmentNumber = number
    made.SegmentLabel = f"Größe {number}"
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    made.SegmentedPropertyTypeCodeSequence = item(**code)
    return made


def base(
    kind: str, syntax: UID, frames: list[Dataset], bits: int, geometry: Geometry = GRID, **more: object
) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = LABELMAP if kind == "LABELMAP" else SEG
    made.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.9")
    made.file_meta.TransferSyntaxUID = syntax
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = "1.2.3.9"
    made.Modality = "SEG"
    made.PatientID = "0815"
    made.SeriesInstanceUID = "1.2.3.10"
    made.StudyInstanceUID = "1.2.3.4"
    made.FrameOfReferenceUID = "1.2.3.4.6"
    made.ReferencedSeriesSequence = item(SeriesInstanceUID="1.2.3.4.5")
    made.SegmentationType = kind
    made.NumberOfFrames = len(frames)
    made.Columns, made.Rows = geometry.size[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation, made.SamplesPerPixel, made.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    made.SegmentSequence = Sequence([segment_item(1), segment_item(2)])
    shared = Dataset()
    cosines = geometry.direction_matrix[:, :2].T.ravel()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[float(v) for v in cosines])
    i, j, _ = geometry.spacing
    shared.PixelMeasuresSequence = item(PixelSpacing=[j, i], SliceThickness=geometry.spacing[2])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def save(dataset: Dataset, path: Path, pixels: bytes, vr: str = "OB") -> Path:
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    dataset.add_new(0x7FE00010, vr, pixels)
    if syntax in (RLE, DEFLATED_FRAMES):
        dataset["PixelData"].is_undefined_length = True
    if syntax == DEFLATED_FRAMES:
        # pydicom does not know it: written under another name of the same length.
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.70")
    dataset.save_as(path, enforce_file_format=True, little_endian=syntax != BIG, implicit_vr=False)
    if syntax == DEFLATED_FRAMES:
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.70", DEFLATED_FRAMES.encode() + b"\0"))
    return path


def stored_frames(which: dict[int, np.ndarray]) -> list[tuple[int, int, np.ndarray]]:
    return [(k, n, mask[k]) for n, mask in which.items() for k in range(GRID.size[2]) if mask[k].any()]


def packed(mask: np.ndarray) -> bytes:
    return np.packbits(mask.ravel(), bitorder="little").tobytes()


def run_lengths(data: bytes) -> bytes:
    """RLE with one literal run: one segment behind its 64-byte head."""
    assert len(data) <= 128
    body = bytes([len(data) - 1]) + data
    return np.array([1, 64, *[0] * 14], "<u4").tobytes() + body + b"\0" * (len(body) % 2)


def binary(path: Path, syntax: UID = EXPLICIT, which: dict[int, np.ndarray] | None = None, vr: str = "OB",
           geometry: Geometry = GRID, **more: object) -> Path:  # fmt: skip
    frames = stored_frames(masks() if which is None else which)
    made = base("BINARY", syntax, [frame_item(k, n, geometry) for k, n, _ in frames], 1, geometry, **more)
    if syntax == RLE:
        pixels = encapsulate([run_lengths(packed(mask)) for _, _, mask in frames])
    elif syntax == DEFLATED_FRAMES:
        deflated = []
        for _, _, mask in frames:
            stream = zlib.compressobj(wbits=-15)
            deflated.append(stream.compress(packed(mask)) + stream.flush())
        pixels = encapsulate(deflated)
    else:
        pixels = packed(np.concatenate([mask.ravel() for _, _, mask in frames]))
        pixels += b"\0" * (len(pixels) % 2)
        if vr == "OW" and syntax == BIG:
            pixels = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    return save(made, path, pixels, vr)


#: Transfer syntax and VR of the pixels.
CODINGS = ((EXPLICIT, "OB"), (EXPLICIT, "OW"), (BIG, "OB"), (BIG, "OW"), (DEFLATED, "OB"), (RLE, "OB"),
           (DEFLATED_FRAMES, "OB"))  # fmt: skip


def found_masks(found: LabelFile) -> dict[int, np.ndarray]:
    return {s.value: found.layers[s.layer] == s.value for s in found.segments}


def codings(folder: Path) -> list[Path]:
    """Write the same two overlapping masks in every coding."""
    folder.mkdir(parents=True, exist_ok=True)
    return [binary(folder / f"{n}.dcm", syntax, vr=vr) for n, (syntax, vr) in enumerate(CODINGS)]


def is_right(found: LabelFile) -> bool:
    """Whether a file of `codings` was read as it was written."""
    got = found_masks(found)
    return got.keys() == masks().keys() and all(np.array_equal(got[n], mask) for n, mask in masks().items())
