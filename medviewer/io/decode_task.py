"""Runs in the decode worker: compressed DICOM pixels to stored values, into an array that both processes see.

The window's process has parsed the headers already and says where the pixels lie; only their bytes are read here.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, InputError
from medviewer.io.coded_frames import EncapsulatedFrames
from medviewer.io.decoders import JPEG_2000, FrameForm, decode_frame, only_rgb
from medviewer.io.dicom_tags import DEFLATED_LITTLE_ENDIAN
from medviewer.io.inflate import inflated_dicom
from medviewer.jobs.job import JobContext
from medviewer.jobs.shared_array import Block

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TELL_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """Where one frame lies.

    Attributes
    ----------
    path : str
        As text, which crosses to the worker faster.
    syntax : str
        Transfer syntax UID.
    offset : int
        First byte of the value of the pixel data element; not used for a deflated file.
    frame : int
        Which frame of the file, counted from 0.
    frames : int
        How many the file declares.
    """

    path: str
    syntax: str
    offset: int
    frame: int = 0
    frames: int = 1


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """Frames of one form to decode.

    Attributes
    ----------
    coded : tuple of CodedFrame
    form : FrameForm
    target : Block
        Where they go: an array (n, *form.shape) of form.dtype, with room for them all.
    only : tuple of str or None
        The decoders to try, where others have crashed.
    """

    coded: tuple[CodedFrame, ...]
    form: FrameForm
    target: Block
    only: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoder of each frame, and what is to be said about them."""

    decoders: tuple[str, ...]
    warnings: tuple[SeriesWarning, ...] = ()


def decode_slices(ctx: JobContext, request: object) -> Decoded:
    """Decode every frame of a `DecodeRequest`.

    Raises
    ------
    DecodeError
        Naming the first file that no decoder can read.
    """
    assert isinstance(request, DecodeRequest)
    # Its log has a traceback for every decoder that fails; here the next one is tried, and the last error is told.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    target = _mapped(request.target)
    decoders: list[str] = []
    warnings: list[SeriesWarning] = []
    told = time.monotonic()
    with ExitStack() as files:
        reader = _FrameReader(files)
        for n, coded in enumerate(request.coded):
            ctx.check_cancelled()
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                ctx.progress(None)
            decoder, warning = reader.decode(coded, request, target[n])
            decoders.append(decoder)
            warnings += [] if warning is None else [warning]
    return Decoded(tuple(decoders), tuple(warnings))


@lru_cache(1)
def _mapped(block: Block) -> npt.NDArray[Any]:
    """Return the array of a block, which stays mapped: the batches of a series share one."""
    return block.open()


class _FrameReader:
    """Reads frames, keeping the file of the last one open."""

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self._path: str | None = None
        self._frames: EncapsulatedFrames | Dataset | None = None

    def decode(
        self, coded: CodedFrame, request: DecodeRequest, out: npt.NDArray[Any]
    ) -> tuple[str, SeriesWarning | None]:
        """Put a frame into `out`; return its decoder, and what is to be said about it."""
        name, form = os.path.basename(coded.path), request.form
        if self._path != coded.path:
            self._files.close()
            self._frames = self._open(coded)
            self._path = coded.path
        try:
            if isinstance(self._frames, EncapsulatedFrames):
                data = self._frames.frame(coded.frame)
                decoder = decode_frame(data, coded.syntax, form, name, out, request.only)
                return decoder, _sign_warning(data, coded.syntax, form, name)
        except OSError as error:
            raise DecodeError(f"{name} cannot be read: {error.strerror}.", code="E_FILE") from error
        assert self._frames is not None
        out[...] = _inflated_frame(self._frames, coded.frame, form, name)
        return "zlib", None

    def _open(self, coded: CodedFrame) -> EncapsulatedFrames | Dataset:
        path = Path(coded.path)
        try:
            file = self._files.enter_context(path.open("rb"))
            if coded.syntax == DEFLATED_LITTLE_ENDIAN:
                return _inflated(file, path.name)
            return EncapsulatedFrames(file, coded.offset, coded.frames, path.name)
        except OSError as error:
            raise DecodeError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error


def _inflated(file: BinaryIO, name: str) -> Dataset:
    """Return the data set of a deflated file."""
    from pydicom import dcmread

    try:
        return dcmread(inflated_dicom(file, name))
    except (InputError, OSError):
        raise
    # A broken file breaks pydicom in many ways; here, in the worker, each of them means the same.
    except Exception as error:
        raise DecodeError(f"{name} is broken ({type(error).__name__}: {error}).") from error


def _inflated_frame(dataset: Dataset, index: int, form: FrameForm, name: str) -> npt.NDArray[Any]:
    """Return one frame of a file that was deflated as a whole."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRLittleEndian

    raw = form.samples == 1
    try:
        frame, found = get_decoder(ExplicitVRLittleEndian).as_array(dataset, index=index, raw=raw)
        if not raw:
            frame = only_rgb(frame, found)
    except Exception as error:
        raise DecodeError(f"{name} is broken ({type(error).__name__}: {error}).") from error
    if frame.shape != form.shape or frame.dtype.newbyteorder("=") != form.dtype:
        raise DecodeError(f"{name} inflates to {frame.shape} {frame.dtype}, declared {form.shape} {form.dtype}.")
    return frame


_START_OF_CODESTREAM: Final = b"\xff\x4f\xff\x51"
#: Bytes from the start of a codestream to Ssiz of its first component (ISO 15444-1 A.5.1).
_SSIZ: Final = 42


def _sign_warning(data: bytes, syntax: str, form: FrameForm, name: str) -> SeriesWarning | None:
    """Say when a JPEG 2000 stream and PixelRepresentation disagree about the sign; the latter is followed."""
    start = data.find(_START_OF_CODESTREAM) if syntax in JPEG_2000 else -1
    if start < 0 or start + _SSIZ >= len(data):
        return None
    signed = bool(data[start + _SSIZ] & 0x80)
    if signed == form.signed:
        return None
    text = f"{name} is {'signed' if signed else 'unsigned'} in its stream and declared the other way."
    return SeriesWarning("W_PIXELREP", f"{text} Its values may be wrong.")
