"""How the pixels of one slice are stored, checked before a byte of them is read.

References
----------
DICOM PS3.3 C.7.6.3.1 (Image Pixel), C.11.1 (Modality LUT), PS3.5 section 8.1 (pixel encoding).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag
from medviewer.io.modality_lut import ModalityLut, modality_lut


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Stored pixels of one single-frame, single-sample slice, and how they become real values.

    Attributes
    ----------
    rows, columns : int
    bits_allocated : int
        1, 8, 16 or 32.
    bits_stored : int
        The lowest bits that count.
    signed, big_endian : bool
    slope, intercept : float
        Real value = stored value x slope + intercept.
    lut : ModalityLut or None
        Gives the real values instead.
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

    def scaled(self, factor: float) -> PixelFormat:
        """Return the format whose real values are `factor` times as large: another unit."""
        lut = replace(self.lut, values=self.lut.values * factor) if self.lut is not None else None
        return replace(self, slope=self.slope * factor, intercept=self.intercept * factor, lut=lut)

    @property
    def nbits(self) -> int:
        """Bits of the uncompressed pixels; frames of single bits follow each other without a gap."""
        return self.rows * self.columns * self.bits_allocated

    @property
    def nbytes(self) -> int:
        """Bytes of the uncompressed pixels."""
        return (self.nbits + 7) // 8

    @property
    def stored_dtype(self) -> str:
        """NumPy type of stored values in native byte order; single bits are unpacked to bytes."""
        return f"{'i' if self.signed else 'u'}{max(8, self.bits_allocated) // 8}"

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest stored value that the bits allow."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1

    @property
    def only_shifts(self) -> bool:
        """Whether real values are whole numbers: slope 1 and a whole intercept."""
        return (
            self.lut is None
            and self.slope == 1.0
            and float(self.intercept).is_integer()
            and abs(self.intercept) < 2**31
        )


_FORMAT_TAGS: Final = (
    Tag.ROWS, Tag.COLUMNS, Tag.NUMBER_OF_FRAMES, Tag.SAMPLES_PER_PIXEL, Tag.PHOTOMETRIC_INTERPRETATION,
    Tag.BITS_ALLOCATED, Tag.BITS_STORED, Tag.HIGH_BIT, Tag.PIXEL_REPRESENTATION, Tag.RESCALE_SLOPE,
    Tag.RESCALE_INTERCEPT,
)  # fmt: skip


def pixel_format(header: Header) -> PixelFormat:
    """Return how the pixels of a slice are stored.

    Raises
    ------
    DecodeError
        ``E_DIMENSIONS``, ``E_PHOTOMETRIC``, ``E_BITS``, ``E_RESCALE`` or ``E_PIXEL_FORMAT``, naming the file.
    """
    # The slices of a series hardly differ here, so that most answers are known.
    if Tag.MODALITY_LUT_SEQUENCE in header.values:
        return replace(_format(header), lut=modality_lut(header))
    key = tuple(header.values.get(tag) for tag in _FORMAT_TAGS)
    form = _known_formats.get((key, header.big_endian, header.pixel_tag))
    if form is None:
        form = _format(header)
        if len(_known_formats) > 1000:
            _known_formats.clear()
        _known_formats[key, header.big_endian, header.pixel_tag] = form
    return form


_known_formats: dict[tuple[tuple[bytes | None, ...], bool, int | None], PixelFormat] = {}


def _format(header: Header) -> PixelFormat:
    name = header.path.name
    if header.pixel_tag is not None and header.pixel_tag & 0xFFFF != 0x0010:
        raise DecodeError(f"{name} stores floating-point pixels.", code="E_PIXEL_FORMAT")
    rows, columns = header.integer(Tag.ROWS), header.integer(Tag.COLUMNS)
    if not rows or not columns:
        raise DecodeError(f"{name} has no valid Rows and Columns.", code="E_DIMENSIONS")
    if header.frames != 1:
        raise DecodeError(f"{name} has more than one frame.", code="E_PIXEL_FORMAT")
    if (header.integer(Tag.SAMPLES_PER_PIXEL) or 1) != 1:
        raise DecodeError(f"{name} is a colour image.", code="E_PIXEL_FORMAT")
    photometric = header.text(Tag.PHOTOMETRIC_INTERPRETATION)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DecodeError(
            f"{name} has PhotometricInterpretation {photometric[:16]!r}, not MONOCHROME.", code="E_PHOTOMETRIC"
        )
    allocated, stored = header.integer(Tag.BITS_ALLOCATED), header.integer(Tag.BITS_STORED)
    high = header.integer(Tag.HIGH_BIT)
    if (
        allocated not in (1, 8, 16, 32)
        or stored is None
        or not 1 <= stored <= allocated
        or high not in (None, stored - 1)
    ):
        raise DecodeError(
            f"{name} declares BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}: not usable together.",
            code="E_BITS",
        )
    slope, intercept = _rescale(header)
    signed = allocated > 1 and header.integer(Tag.PIXEL_REPRESENTATION) == 1
    return PixelFormat(rows, columns, allocated, stored, signed, header.big_endian, slope, intercept)


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
    if stored is None:
        return None
    return float(form.lut(np.array(stored))) if form.lut else stored * form.slope + form.intercept
