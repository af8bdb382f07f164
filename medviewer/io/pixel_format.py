"""How the pixels of one slice are stored, checked before a byte of them is read.

References
----------
DICOM PS3.3 C.7.6.3.1 (Image Pixel), C.11.1 (Modality LUT), PS3.5 section 8.1 (pixel encoding).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag
from medviewer.io.modality_lut import ModalityLut, modality_lut
from medviewer.io.palette import Palette, palette

_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_PALETTE: Final = "PALETTE COLOR"
#: Colours of three samples, and those of them that only a codec makes.
_COLORS: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_ONLY_COMPRESSED: Final = ("YBR_RCT", "YBR_ICT")
_POSSIBLE_BITS: Final[dict[str, tuple[int, ...]]] = {
    "MONOCHROME1": (1, 8, 16, 32), "MONOCHROME2": (1, 8, 16, 32), _PALETTE: (8, 16), "RGB": (8, 16, 32),
}  # fmt: skip
_FLOAT_BITS: Final = {0x7FE00008: 32, 0x7FE00009: 64}


@dataclass(frozen=True)
class PixelFormat:
    """Stored pixels of one frame, and how they become real values or colours.

    Attributes
    ----------
    rows, columns : int
    bits_allocated : int
        1, 8, 16 or 32; 64 for floating point in double precision. Of one sample.
    bits_stored : int
        The lowest bits that count.
    signed, big_endian : bool
    slope, intercept : float
        Real value = stored value x slope + intercept.
    lut : ModalityLut or None
        Gives the real values instead.
    photometric : str
        PhotometricInterpretation.
    planar : bool
        All of one colour before the next.
    is_float : bool
    in_words : bool
        Samples of 8 bits in big-endian words: the bytes of a word are exchanged.
    palette : Palette or None
        For PALETTE COLOR.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    big_endian: bool
    slope: float
    intercept: float
    lut: ModalityLut | None = None
    photometric: str = "MONOCHROME2"
    planar: bool = False
    is_float: bool = False
    in_words: bool = False
    palette: Palette | None = None

    @property
    def is_color(self) -> bool:
        """Whether pixels are colours, of three samples or by a palette."""
        return self.photometric not in _GREY

    @cached_property
    def samples(self) -> int:
        """SamplesPerPixel."""
        return 3 if self.photometric in _COLORS else 1

    @cached_property
    def count(self) -> int:
        """Stored numbers of a frame; of YBR_FULL_422 two pixels share their chrominance."""
        pixels = self.rows * self.columns
        return 2 * pixels if self.photometric == "YBR_FULL_422" else self.samples * pixels

    def scaled(self, factor: float) -> PixelFormat:
        """Return the format whose real values are `factor` times as large: another unit."""
        lut = replace(self.lut, values=self.lut.values * factor) if self.lut is not None else None
        return replace(self, slope=self.slope * factor, intercept=self.intercept * factor, lut=lut)

    @cached_property
    def nbits(self) -> int:
        """Bits of the uncompressed pixels; frames of single bits follow each other without a gap."""
        return self.count * self.bits_allocated

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the uncompressed pixels."""
        return (self.nbits + 7) // 8

    @cached_property
    def stored_type(self) -> np.dtype[Any]:
        """NumPy type of stored values in native byte order; single bits are unpacked to bytes."""
        kind = "f" if self.is_float else "i" if self.signed else "u"
        return np.dtype(f"{kind}{max(8, self.bits_allocated) // 8}")

    @cached_property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest stored value that the bits allow."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1

    @cached_property
    def only_shifts(self) -> bool:
        """Whether real values are whole numbers: slope 1 and a whole intercept."""
        return (
            self.lut is None
            and not self.is_float
            and self.slope == 1.0
            and float(self.intercept).is_integer()
            and abs(self.intercept) < 2**31
        )


#: A compressed picture may unpack to this many bytes, or to `_MOST_RATIO` times its file, whichever is more: an empty
#: picture packs very well, but none is as large as the largest that can be declared.
_FREE_BYTES: Final = 64 * 1024 * 1024
_MOST_RATIO: Final = 2000
_FORMAT_TAGS: Final = (
    Tag.ROWS, Tag.COLUMNS, Tag.NUMBER_OF_FRAMES, Tag.SAMPLES_PER_PIXEL, Tag.PHOTOMETRIC_INTERPRETATION,
    Tag.BITS_ALLOCATED, Tag.BITS_STORED, Tag.HIGH_BIT, Tag.PIXEL_REPRESENTATION, Tag.RESCALE_SLOPE,
    Tag.RESCALE_INTERCEPT, Tag.PLANAR_CONFIGURATION,
)  # fmt: skip


def pixel_format(header: Header) -> PixelFormat:
    """Return how the pixels of a slice are stored.

    Raises
    ------
    DecodeError
        ``E_DIMENSIONS``, ``E_PHOTOMETRIC``, ``E_BITS``, ``E_RESCALE``, ``E_PALETTE``, ``E_PIXEL_FORMAT`` or ``E_BOMB``,
        naming the file.
    """
    # The slices of a series hardly differ here, so that most answers are known.
    key = (
        *map(header.values.get, _FORMAT_TAGS), header.big_endian, header.pixel_tag, header.is_native,
        header.in_words,
    )  # fmt: skip
    form = _known_formats.get(key)
    if form is None:
        form = _format(header)
        if len(_known_formats) > 1000:
            _known_formats.clear()
        _known_formats[key] = form
    if form.nbytes > max(_FREE_BYTES, _MOST_RATIO * header.file_size) and header.pixel_length is None:
        raise DecodeError(
            f"{header.path.name} promises {form.nbytes // 2**20} MB of pixels in {header.file_size} bytes.",
            hint="The file is damaged or hostile. Fetch it again from where it came.",
            code="E_BOMB",
        )
    if form.photometric == _PALETTE:
        return replace(form, palette=palette(header))
    if Tag.MODALITY_LUT_SEQUENCE in header.values and not form.is_color:
        return replace(form, lut=modality_lut(header))
    return form


_known_formats: dict[tuple[object, ...], PixelFormat] = {}


def _format(header: Header) -> PixelFormat:
    name = header.path.name
    rows, columns = header.integer(Tag.ROWS), header.integer(Tag.COLUMNS)
    if not rows or not columns:
        raise DecodeError(f"{name} has no valid Rows and Columns.", code="E_DIMENSIONS")
    if header.frames != 1:
        raise DecodeError(f"{name} has more than one frame.", code="E_PIXEL_FORMAT")
    photometric = _photometric(header)
    if photometric == "YBR_FULL_422" and header.is_native and rows * columns % 2:
        raise DecodeError(f"{name} shares colours between pairs of pixels and has an odd number.", code="E_DIMENSIONS")
    float_bits = _FLOAT_BITS.get(header.pixel_tag or 0)
    if float_bits is not None:
        if photometric not in _GREY or not header.is_native:
            raise DecodeError(f"{name} has floating-point pixels that are not plain grey.", code="E_PIXEL_FORMAT")
        slope, intercept = _rescale(header)
        return PixelFormat(
            rows, columns, float_bits, float_bits, signed=True, big_endian=header.big_endian, slope=slope,
            intercept=intercept, photometric=photometric, is_float=True,
        )  # fmt: skip
    allocated, stored = _bits(header, photometric)
    # Colours have no real values beside them.
    slope, intercept = _rescale(header) if photometric in _GREY else (1.0, 0.0)
    signed = allocated > 1 and header.integer(Tag.PIXEL_REPRESENTATION) == 1
    return PixelFormat(
        rows, columns, allocated, stored, signed, header.big_endian, slope, intercept, photometric=photometric,
        planar=header.integer(Tag.PLANAR_CONFIGURATION) == 1, in_words=header.in_words and allocated == 8,
    )  # fmt: skip


def _photometric(header: Header) -> str:
    """Return PhotometricInterpretation where it and SamplesPerPixel fit each other; colours are never guessed."""
    photometric = header.text(Tag.PHOTOMETRIC_INTERPRETATION)
    samples = header.integer(Tag.SAMPLES_PER_PIXEL) or 1
    wanted = {1: (*_GREY, _PALETTE), 3: _COLORS}.get(samples, ())
    native_only = header.is_native and photometric in _ONLY_COMPRESSED
    if photometric not in wanted or native_only:
        raise DecodeError(
            f"{header.path.name} has PhotometricInterpretation {photometric[:16]!r} with {samples} samples per pixel: "
            "how its pixels are to be shown is not known.",
            code="E_PHOTOMETRIC",
        )
    return photometric


def _bits(header: Header, photometric: str) -> tuple[int, int]:
    """Return BitsAllocated and BitsStored where they can be used together."""
    allocated, stored = header.integer(Tag.BITS_ALLOCATED), header.integer(Tag.BITS_STORED)
    high = header.integer(Tag.HIGH_BIT)
    possible = _POSSIBLE_BITS.get(photometric, (8,))
    signed_color = photometric in _COLORS and header.integer(Tag.PIXEL_REPRESENTATION) == 1
    if (
        allocated is None
        or allocated not in possible
        or stored is None
        or not 1 <= stored <= allocated
        or high not in (None, stored - 1)
        or signed_color
    ):
        sign = ", PixelRepresentation 1" if signed_color else ""
        raise DecodeError(
            f"{header.path.name} declares BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}{sign} for "
            f"{photometric}: not usable together.",
            code="E_BITS",
        )
    return allocated, stored


def _rescale(header: Header) -> tuple[float, float]:
    slope, intercept = header.number(Tag.RESCALE_SLOPE), header.number(Tag.RESCALE_INTERCEPT)
    broken = (slope is None and header.text(Tag.RESCALE_SLOPE)) or (
        intercept is None and header.text(Tag.RESCALE_INTERCEPT)
    )
    if broken:
        raise DecodeError(
            f"{header.path.name} has a RescaleSlope or RescaleIntercept that is not a usable number.", code="E_RESCALE"
        )
    return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def check_native_length(header: Header, form: PixelFormat, *, frames: int = 1) -> SeriesWarning | None:
    """Compare what uncompressed pixels need, what their element declares and what the file holds.

    Parameters
    ----------
    header : Header
    form : PixelFormat
        Of one frame.
    frames : int
        How many of them the element holds.

    Returns
    -------
    SeriesWarning or None
        ``W_EXTRA_PIXELS`` when more than a padding byte follows the pixels.

    Raises
    ------
    DecodeError
        ``E_TRUNCATED`` when the file ends too early, ``E_PIXEL_LENGTH`` when the element is too short.
    """
    name = header.path.name
    if header.pixel_offset is None or header.pixel_length is None:
        raise DecodeError(f"{name} has no pixel data.", code="E_NO_PIXELS")
    hint = "Fetch the file again from where it came."
    if header.pixel_offset + header.pixel_length > header.file_size:
        missing = header.pixel_offset + header.pixel_length - header.file_size
        raise DecodeError(f"{name} ends {missing} bytes too early.", hint=hint, code="E_TRUNCATED")
    if header.tile is not None:
        form = replace(form, rows=header.tile.rows, columns=header.tile.columns)
    needed = (frames * form.nbits + 7) // 8
    if header.pixel_length < needed:
        raise DecodeError(
            f"{name} holds {header.pixel_length} bytes of pixels where {needed} are needed.",
            hint=hint,
            code="E_PIXEL_LENGTH",
        )
    if header.frame is None and header.pixel_length > needed + 1:
        extra = header.pixel_length - needed
        return SeriesWarning("W_EXTRA_PIXELS", f"{name} holds {extra} bytes more than its pixels need; left out.")
    return None


def padding_value(header: Header, form: PixelFormat) -> float | None:
    """Return PixelPaddingValue in real units, read with the signedness of the pixels."""
    stored = header.integer(Tag.PIXEL_PADDING_VALUE, signed=form.signed)
    if stored is None or form.is_color or form.is_float:
        return None
    return float(form.lut(np.array(stored))) if form.lut else stored * form.slope + form.intercept
