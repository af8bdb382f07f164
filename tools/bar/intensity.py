"""Values: lossless codecs against their reference, rescaled values against pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import MedViewerError
from medviewer.io.decode_worker import DecodeSource
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.native_pixels import Stack
from medviewer.io.pixel_format import pixel_format
from medviewer.jobs.worker import WorkerProcess
from tools.bar.bar import CTX, Bench, Figure, row

LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 203))


def _stored(header: Header, worker: WorkerProcess) -> npt.NDArray[Any]:
    """Return the real values of one picture, with a place in the patient or without."""
    stack = Stack([pixel_format(header)], np.float32)
    if header.is_native and header.pixel_offset is not None:
        stack.read(0, header.path, header.pixel_offset)
    else:
        list(DecodeSource(worker, [header]).fill(CTX, stack, [range(1)]))
    values: npt.NDArray[Any] = stack.array[0]
    return values


@row("R-03", "lossless codecs are exact")
def lossless_equals_reference(bench: Bench) -> Figure:
    """Pictures that lie there uncompressed, or in several lossless codecs, are equal."""
    references: dict[str, npt.NDArray[Any]] = {}
    equal = compared = skipped = 0
    wanted = [p for p in bench.corpora if "codecs_wg04" in str(p) or "odd_and_codecs" in str(p)]
    # Uncompressed first, so that it is what the others are compared with.
    for path in sorted(wanted, key=lambda p: (_compressed(p), str(p))):
        stem, _, codec = path.stem.rpartition("_")
        family = stem if codec in _CODECS else None
        if family is None:
            continue
        try:
            header = read_header(path)
            if header.transfer_syntax_uid in LOSSY or codec.endswith("I"):
                continue
            values = _stored(header, bench.worker)
        except MedViewerError:
            skipped += 1
            continue
        key = f"{path.parts[len(bench.folder.parts)]}/{family}"
        if key in references:
            compared += 1
            equal += bool(np.array_equal(values, references[key]))
        else:
            references[key] = values
    figure = f"{equal}/{compared} equal to their reference; {skipped} colour or unreadable left out"
    return Figure(figure, compared > 0 and equal == compared)


_CODECS: Final = frozenset({
    "J2KR", "J2KI", "RLE", "JPLL", "JLSL", "UNCR", "UNCI", "bigendian", "jp2klossless", "small", "lossless",
})  # fmt: skip


def _compressed(path: Path) -> bool:
    return not path.stem.endswith(("UNCR", "small"))


@row("R-08", "intensities are right")
def intensity_is_that_of_pydicom(bench: Bench) -> Figure:
    """Every value equals pydicom's Modality LUT or rescale; MONOCHROME1 is not inverted."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.uid import UID

    equal = compared = 0
    for path, found in bench.opened.items():
        whole = [o.series for o in found if o.state != "REFUSED" and o.series is not None and not o.series.frames]
        if not any(series.kind == "dicom" and series.files == (path,) for series in whole):
            continue
        header = read_header(path)
        if header.transfer_syntax_uid in LOSSY:
            continue
        dataset = dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax_uid)
        wanted = apply_modality_lut(dataset.pixel_array, dataset)
        compared += 1
        equal += bool(np.allclose(_stored(header, bench.worker), wanted, rtol=1e-6, atol=1e-6))
    figure = f"{equal}/{compared} single-frame files equal pydicom"
    return Figure(figure, compared > 0 and equal == compared)
