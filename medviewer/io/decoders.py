"""The decoders of compressed frames: for each transfer syntax a chain, the fastest exact one first.

The first that gives pixels of the declared shape is taken. Decoding runs in the decode worker only: any of them may end
its process on a broken stream, and then the caller asks again without it.

References
----------
DICOM PS3.5 section 8.2 (encapsulated pixel data), annexes A.4 and G; measured in docs/decisions/0014.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import DecodeError
from medviewer.jobs.job import JobCancelled

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K: Final = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE: Final = "1.2.840.10008.1.2.5"
_JPEG: Final = (JPEG_BASELINE, JPEG_EXTENDED, *JPEG_LOSSLESS)

#: Transfer syntax -> names of decoders in the order in which they are tried: `imagecodecs`, or a plugin of pydicom.
CHAINS: Final[dict[str, tuple[str, ...]]] = {
    JPEG_BASELINE: ("imagecodecs", "gdcm", "pillow"),
    JPEG_EXTENDED: ("imagecodecs", "gdcm", "pillow"),
    **dict.fromkeys(JPEG_LOSSLESS, ("imagecodecs", "gdcm")),
    **dict.fromkeys(JPEG_LS, ("imagecodecs", "pyjpegls", "gdcm")),
    **dict.fromkeys(JPEG_2000, ("gdcm", "pylibjpeg")),
    **dict.fromkeys(HTJ2K, ("pylibjpeg",)),
    RLE: ("imagecodecs", "pydicom"),
}

Frame = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class FrameForm:
    """What the data set declares about one frame.

    Attributes
    ----------
    photometric : str
        PhotometricInterpretation.
    samples : int
        SamplesPerPixel; a frame with three is decoded to RGB.
    planar : bool
        All of one colour before the next.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str = "MONOCHROME2"
    samples: int = 1
    planar: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of stored values."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), and the samples where there are several."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)


def decode_frame(
    data: bytes, syntax: str, form: FrameForm, name: str, out: Frame, only: Sequence[str] | None = None
) -> str:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
        Its compressed stream.
    syntax : str
        Transfer syntax UID.
    form : FrameForm
    name : str
        Of the file, for messages.
    out : array of `form.shape` and `form.dtype`, contiguous
        Gets the stored values; bits above BitsStored are as the decoder left them.
    only : sequence of str, optional
        Decoders to try; by default the chain of the syntax.

    Returns
    -------
    str
        The decoder.

    Raises
    ------
    DecodeError
        ``E_CODEC`` when no decoder can read it, ``E_TRUNCATED`` when the stream has no end.
    """
    from pydicom.uid import UID

    if syntax not in CHAINS:
        raise DecodeError(
            f"{name} is compressed as {UID(syntax).name}, which cannot be read.",
            hint="Convert it to an uncompressed or lossless syntax first.",
        )
    if syntax in _JPEG and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        # No EOI after the last SOS. Decoders fill in what is missing with grey.
        raise DecodeError(f"The picture in {name} is cut short: its stream has no end.", code="E_TRUNCATED")
    reasons = []
    for decoder in only or installed(syntax):
        try:
            if decoder == "imagecodecs":
                _imagecodecs(data, syntax, form, out)
            else:
                _take(_pydicom(data, syntax, form, decoder), out)
            return decoder
        except (KeyboardInterrupt, SystemExit, JobCancelled):
            raise
        # Rust decoders panic with a BaseException; the next decoder is tried all the same.
        except BaseException as error:  # noqa: BLE001
            reasons.append(f"{decoder}: {type(error).__name__} {error}".splitlines()[0][:200])
    raise DecodeError(
        f"{name} cannot be decoded ({UID(syntax).name}).",
        hint="; ".join(reasons) or "No decoder for it is installed; run `medviewer doctor`.",
    )


def _take(frame: Frame, out: Frame) -> None:
    """Take over a frame; raises for one of another shape, or with wider values."""
    if frame.shape != out.shape or frame.dtype.itemsize > out.dtype.itemsize or frame.dtype.kind not in "iu":
        raise ValueError(f"decodes to {frame.shape} {frame.dtype}, declared {out.shape} {out.dtype}")
    out[...] = frame.view(out.dtype) if frame.dtype.itemsize == out.dtype.itemsize else frame


def _imagecodecs(data: bytes, syntax: str, form: FrameForm, out: Frame) -> None:
    """Decode straight into `out`: a stream that holds less or more than declared is found out by that."""
    import imagecodecs

    words = out.view(f"u{out.dtype.itemsize}")
    if syntax == RLE:
        if form.samples == 1:
            _unpacked(data, words)
        elif form.photometric == "RGB":
            planes = np.empty((form.samples, form.rows, form.columns), words.dtype)
            _unpacked(data, planes)
            words[...] = np.moveaxis(planes, 0, -1)
        else:
            raise ValueError("colours of RLE only as RGB")
        return
    if form.samples != 1:
        if syntax not in _JPEG or out.dtype != np.uint8:
            raise ValueError("colours only of 8-bit JPEG")
        imagecodecs.jpeg8_decode(data, colorspace=_stream_space(data, form), outcolorspace="RGB", out=out)
        return
    decode: Callable[..., Frame] = imagecodecs.jpegls_decode if syntax in JPEG_LS else imagecodecs.jpeg8_decode
    try:
        decode(data, out=words)
    except ValueError:
        if words.itemsize == 1:
            raise
        # 8 bits in a stream, 16 allocated.
        out[...] = decode(data, out=np.empty(form.shape, np.uint8))


def _unpacked(data: bytes, words: Frame) -> None:
    """Unpack RLE into an array, whose first axis is the samples where there are several (PS3.5 annex G)."""
    import imagecodecs

    flat = words.reshape(-1).view(np.uint8).data
    decoded = imagecodecs.dicomrle_decode(data, words.dtype.newbyteorder("<"), out=flat)
    if len(decoded) != words.nbytes:
        raise ValueError(f"decodes to {len(decoded)} bytes")


def _stream_space(data: bytes, form: FrameForm) -> str:
    """Return the colour space of a JPEG stream: by its component ids, its JFIF marker, else what the file declares.

    The order is that of pydicom; a stream that contradicts itself is left to it.
    """
    place, is_jfif, ids = 2, False, b""
    while not ids and place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + length]
        is_jfif = is_jfif or (marker & 0xF0 == 0xE0 and segment.startswith(b"JFIF"))
        if marker & 0xF0 == 0xC0 and marker not in (0xC4, 0xC8, 0xCC):
            ids = segment[6::3]
        place += 2 + length
    if ids.upper() == b"RGB":
        if is_jfif:
            raise ValueError("a JFIF stream with the components of RGB")
        return "RGB"
    return "YCBCR" if is_jfif or form.photometric != "RGB" else "RGB"


def _pydicom(data: bytes, syntax: str, form: FrameForm, plugin: str) -> Frame:
    """Decode with a plugin of pydicom: stored values, or RGB."""
    from pydicom.encaps import encapsulate

    options: dict[str, Any] = {
        "number_of_frames": 1,
        "rows": form.rows,
        "columns": form.columns,
        "samples_per_pixel": form.samples,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "photometric_interpretation": form.photometric,
        "planar_configuration": int(form.planar),
        "pixel_keyword": "PixelData",
    }
    source = encapsulate([data], has_bot=False)
    raw = form.samples == 1
    frame, found = _decoder(syntax).as_array(source, index=0, raw=raw, decoding_plugin=plugin, **options)
    return frame if raw else only_rgb(frame, found)


def only_rgb(frame: Frame, found: Mapping[str, Any]) -> Frame:
    """Return a colour frame that is RGB by what pydicom tells of it; colours are never guessed."""
    space = str(found.get("photometric_interpretation"))
    if space != "RGB":
        raise ValueError(f"decodes to {space}, which is not turned into RGB")
    return frame


@cache
def _decoder(syntax: str) -> Decoder:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    return get_decoder(UID(syntax))


@cache
def installed(syntax: str) -> tuple[str, ...]:
    """Return the decoders of a transfer syntax that can be used here, in the order of use."""
    from importlib.util import find_spec

    plugins = _decoder(syntax).available_plugins
    return tuple(
        name
        for name in CHAINS[syntax]
        if (find_spec("imagecodecs") is not None if name == "imagecodecs" else name in plugins)
    )


def available_decoders() -> dict[str, tuple[str, ...]]:
    """Return transfer syntax name -> decoders that are installed, in the order of use."""
    from pydicom.uid import UID

    return {UID(syntax).name: installed(syntax) for syntax in CHAINS}
