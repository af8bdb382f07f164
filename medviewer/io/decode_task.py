"""Runs in the decode worker: compressed DICOM pixels to stored values.

For each transfer syntax there is a chain of decoders, the exact and robust ones first; the first that gives pixels of
the declared shape is taken. What no decoder can read is a `DecodeError` that names the file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, InputError
from medviewer.io.inflate import inflated_dicom
from medviewer.jobs.job import JobCancelled, JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

log = logging.getLogger(__name__)

_JPEG: Final = ("pylibjpeg", "gdcm", "pillow")
#: 12 bits of it only GDCM reads, and only from a file; broken files of other syntaxes cost GDCM seconds and gigabytes.
_JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
#: Transfer syntax -> names of pydicom's decoding plugins in the order in which they are tried.
CHAINS: Final[dict[str, tuple[str, ...]]] = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": ("pylibjpeg", "gdcm"),
    "1.2.840.10008.1.2.4.70": ("pylibjpeg", "gdcm"),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "gdcm"),
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "gdcm"),
    "1.2.840.10008.1.2.4.90": ("pylibjpeg", "gdcm"),
    "1.2.840.10008.1.2.4.91": ("pylibjpeg", "gdcm"),
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
    "1.2.840.10008.1.2.5": ("pydicom", "pylibjpeg", "gdcm"),
}


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """Frames of one format to decode: the file of each, and which of its frames (from 0).

    `samples` is 1, or 3 for colours, which come back as RGB.
    """

    paths: tuple[Path, ...]
    frames: tuple[int, ...]
    rows: int
    columns: int
    dtype: str
    samples: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSlices:
    """Stored values, the decoder that gave each, and what is to be said about them.

    Shape (n, rows, columns), or (n, rows, columns, 3) of RGB.
    """

    pixels: npt.NDArray[Any]
    decoders: tuple[str, ...]
    warnings: tuple[SeriesWarning, ...] = ()


def decode_slices(ctx: JobContext, request: object) -> DecodedSlices:
    """Decode every file of a `DecodeRequest`.

    Raises
    ------
    DecodeError
        Naming the first file that no decoder can read.
    """
    assert isinstance(request, DecodeRequest)
    # Its log has a traceback for every decoder that fails; here the next one is tried, and the last error is told.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    dtype = np.dtype(request.dtype)
    shape = (request.rows, request.columns, 3) if request.samples == 3 else (request.rows, request.columns)
    pixels = np.empty((len(request.paths), *shape), dtype)
    decoders: list[str] = []
    warnings: list[SeriesWarning] = []
    opened: _OpenFile | None = None
    for n, (path, index) in enumerate(zip(request.paths, request.frames, strict=True)):
        ctx.check_cancelled()
        if opened is None or opened.path != path:
            opened = _open(path)
        frame, decoder = _decode_frame(opened, index, color=request.samples == 3)
        if frame.shape != pixels.shape[1:] or frame.dtype.newbyteorder("=") != dtype:
            raise DecodeError(
                f"{path.name} decodes to {frame.shape} {frame.dtype}, declared {pixels.shape[1:]} {dtype}."
            )
        pixels[n] = frame
        decoders.append(decoder)
        warning = _sign_warning(opened, index)
        if warning is not None:
            warnings.append(warning)
    return DecodedSlices(pixels, tuple(decoders), tuple(warnings))


_JPEG_2000: Final = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_START_OF_CODESTREAM: Final = b"\xff\x4f\xff\x51"
#: Bytes from the start of a codestream to Ssiz of its first component (ISO 15444-1 A.5.1).
_SSIZ: Final = 42


def _sign_warning(file: _OpenFile, index: int) -> SeriesWarning | None:
    """Say when a JPEG 2000 stream and PixelRepresentation disagree about the sign; the latter is followed."""
    from pydicom.encaps import get_frame

    dataset = file.dataset
    if file.inflated or not str(dataset.file_meta.TransferSyntaxUID).startswith(_JPEG_2000):
        return None
    frame = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    start = frame.find(_START_OF_CODESTREAM)
    if start < 0 or start + _SSIZ >= len(frame):
        return None
    signed = bool(frame[start + _SSIZ] & 0x80)
    if signed == (dataset.get("PixelRepresentation") == 1):
        return None
    text = f"{file.path.name} is {'signed' if signed else 'unsigned'} in its stream and declared the other way."
    return SeriesWarning("W_PIXELREP", f"{text} Its values may be wrong.")


@dataclass(frozen=True, slots=True, eq=False)
class _OpenFile:
    """A file whose frames are being decoded; a deflated one has been inflated."""

    path: Path
    dataset: Dataset
    inflated: bool


def _open(path: Path) -> _OpenFile:
    from pydicom import dcmread

    try:
        with path.open("rb") as file:
            source = inflated_dicom(file, path.name)
            return _OpenFile(path, dcmread(source), source is not file)
    except OSError as error:
        raise DecodeError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
    except InputError:
        raise
    # A broken file breaks pydicom in many ways; here, in the worker, each of them means the same.
    except Exception as error:
        raise DecodeError(f"{path.name} is broken ({type(error).__name__}: {error}).") from error


def _inflated_frame(file: _OpenFile, index: int, *, color: bool) -> npt.NDArray[Any]:
    """Return one frame of a file that was deflated as a whole."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRLittleEndian

    try:
        frame, found = get_decoder(ExplicitVRLittleEndian).as_array(file.dataset, index=index, raw=not color)
    except Exception as error:
        raise DecodeError(f"{file.path.name} is broken ({type(error).__name__}: {error}).") from error
    return _only_rgb(frame, found, file.path.name) if color else frame


def _only_rgb(frame: npt.NDArray[Any], found: Mapping[str, Any], name: str) -> npt.NDArray[Any]:
    """Return a colour frame that is RGB; colours are never guessed."""
    space = str(found.get("photometric_interpretation"))
    if space != "RGB":
        raise DecodeError(f"{name} decodes to {space}, which is not turned into RGB.", code="E_PHOTOMETRIC")
    return frame


def _decode_frame(file: _OpenFile, index: int, *, color: bool) -> tuple[npt.NDArray[Any], str]:
    """Return one frame of a file and the name of its decoder."""
    if file.inflated:
        return _inflated_frame(file, index, color=color), "zlib"
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    path, dataset, name = file.path, file.dataset, file.path.name
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    chain = CHAINS.get(syntax)
    if chain is None:
        raise DecodeError(
            f"{name} is compressed as {syntax.name}, which cannot be read.",
            hint="Convert it to an uncompressed or lossless syntax first.",
        )
    decoder = get_decoder(syntax)
    reasons = []
    plugins = [plugin for plugin in chain if plugin in decoder.available_plugins]
    for plugin in (*plugins, "gdcm file") if syntax == _JPEG_EXTENDED else plugins:
        try:
            if plugin == "gdcm file":
                return _read_with_gdcm(path, index), plugin
            frame, found = decoder.as_array(dataset, index=index, raw=not color, decoding_plugin=plugin)
            if color:
                frame = _only_rgb(frame, found, name)
        except (KeyboardInterrupt, SystemExit, JobCancelled):
            raise
        # Rust decoders panic with a BaseException; the next decoder is tried all the same.
        except BaseException as error:  # noqa: BLE001
            reasons.append(f"{plugin}: {type(error).__name__} {error}".splitlines()[0][:200])
            continue
        return frame, plugin
    raise DecodeError(
        f"{name} cannot be decoded ({syntax.name}).",
        hint="; ".join(reasons) or "No decoder for it is installed; run `medviewer doctor`.",
    )


def _read_with_gdcm(path: Path, index: int) -> npt.NDArray[Any]:
    """Return one frame of a file as GDCM reads it by itself: 12-bit JPEG Extended, which its plugin leaves out."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise DecodeError(f"{path.name} cannot be read.")
    image = reader.GetImage()
    form = image.GetPixelFormat()
    rows, columns = image.GetDimension(1), image.GetDimension(0)
    dimensions = image.GetNumberOfDimensions()
    count = image.GetDimension(2) if dimensions == 3 else 1
    if dimensions not in (2, 3) or index >= count or form.GetSamplesPerPixel() != 1:
        raise DecodeError(f"{path.name} is not one picture with one sample per pixel.")
    dtype = np.dtype(f"{'i' if form.GetPixelRepresentation() else 'u'}{form.GetBitsAllocated() // 8}")
    # The wrapper hands bytes over as text with surrogates.
    data = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    if len(data) != count * rows * columns * dtype.itemsize:
        raise DecodeError(f"{path.name} decodes to {len(data)} bytes.", code="E_PIXEL_LENGTH")
    frame: npt.NDArray[Any] = np.frombuffer(data, dtype).reshape(count, rows, columns)[index]
    return frame


def available_decoders() -> dict[str, tuple[str, ...]]:
    """Return transfer syntax name -> decoders that are installed, in the order of use."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    found = {}
    for syntax, chain in CHAINS.items():
        try:
            plugins = get_decoder(UID(syntax)).available_plugins
        except NotImplementedError:
            plugins = ()
        found[UID(syntax).name] = tuple(plugin for plugin in chain if plugin in plugins)
    return found
