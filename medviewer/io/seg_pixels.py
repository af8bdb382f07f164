"""Frames of a DICOM SEG as stored: bits, fractions or label values; length-checked. Runs in the decode worker.

References
----------
DICOM PS3.5 8.1.1 (bit packing), PS3.5 annex G (RLE) and A.4.13 (deflated frames), PS3.3 C.8.20.2.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import DecodeError
from medviewer.io.decoders import CHAINS
from medviewer.io.dicom_tags import EXPLICIT_BIG_ENDIAN
from medviewer.jobs.job import JobCancelled

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_RLE: Final = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"

Frame = npt.NDArray[Any]


class SegPixels:
    """The frames of a segmentation, unpacked one at a time.

    Raises
    ------
    DecodeError
        ``E_PIXEL_LENGTH`` when there are fewer bytes than frames, ``E_PIXEL_FORMAT`` for bits that no SEG has,
        ``E_CODEC`` for a syntax that cannot be read.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self._dataset = dataset
        self._name = name
        self.rows = int(dataset.get("Rows", 0) or 0)
        self.columns = int(dataset.get("Columns", 0) or 0)
        self.frames = int(dataset.get("NumberOfFrames", 1) or 1)
        self.bits = int(dataset.get("BitsAllocated", 0) or 0)
        self._syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) if hasattr(dataset, "file_meta") else ""
        if self.bits not in (1, 8, 16) or min(self.rows, self.columns, self.frames) < 1:
            raise DecodeError(f"{name} has frames of {self.bits} bits.", code="E_PIXEL_FORMAT")
        if "PixelData" not in dataset:
            raise DecodeError(f"{name} has no pixel data.", code="E_NO_PIXELS")
        self._data = bytes(dataset.PixelData)
        self._encapsulated = self._syntax in (*CHAINS, _DEFLATED_FRAMES)
        if not self._encapsulated:
            self._data = self._native()

    @property
    def _frame_bits(self) -> int:
        return self.rows * self.columns * self.bits

    def _native(self) -> bytes:
        needed = (self._frame_bits * self.frames + 7) // 8
        if len(self._data) < needed:
            raise DecodeError(
                f"{self._name} has {len(self._data)} bytes of pixels, {needed} are declared.", code="E_PIXEL_LENGTH"
            )
        big_words = self._syntax == EXPLICIT_BIG_ENDIAN and self._dataset["PixelData"].VR == "OW"
        if big_words:
            even = self._data[: len(self._data) // 2 * 2]
            return np.frombuffer(even, ">u2").astype("<u2").tobytes()
        return self._data

    def frame(self, number: int) -> Frame:
        """Return stored values of a frame, uint8 or uint16 (rows, columns)."""
        if not self._encapsulated:
            start, stop = number * self._frame_bits, (number + 1) * self._frame_bits
            return self._unpacked(self._data[start // 8 : (stop + 7) // 8], start % 8)
        if self._syntax == _DEFLATED_FRAMES:
            return self._unpacked(self._inflated(self._fragment(number)), 0)
        if self._syntax == _RLE and self.bits == 1:
            return self._unpacked(self._run_lengths(self._fragment(number)), 0)
        return self._decoded(number)

    def _unpacked(self, data: bytes, skip: int) -> Frame:
        if len(data) * 8 < skip + self._frame_bits:
            raise DecodeError(f"A frame of {self._name} is too short.", code="E_PIXEL_LENGTH")
        if self.bits == 1:
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            return bits[skip : skip + self._frame_bits].reshape(self.rows, self.columns)
        values = np.frombuffer(data, np.dtype(f"<u{self.bits // 8}"), self.rows * self.columns)
        return values.reshape(self.rows, self.columns)

    def _fragment(self, number: int) -> bytes:
        from pydicom.encaps import get_frame

        try:
            return get_frame(self._data, number, number_of_frames=self.frames)
        except (ValueError, struct.error, IndexError) as error:
            raise DecodeError(f"{self._name} has no frame {number + 1}.", code="E_PIXEL_LENGTH") from error

    def _inflated(self, data: bytes) -> bytes:
        try:
            # One byte more than needed tells a bomb from a frame; nothing beyond it is inflated.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, (self._frame_bits + 7) // 8 + 1)
        except zlib.error as error:
            raise DecodeError(f"A frame of {self._name} cannot be inflated.") from error

    def _run_lengths(self, data: bytes) -> bytes:
        """Return the packed bits of a one-bit RLE frame: one segment."""
        if len(data) < 64 or struct.unpack_from("<I", data)[0] != 1:
            raise DecodeError(f"A frame of {self._name} is no run-length stream of one segment.")
        position = struct.unpack_from("<I", data, 4)[0]
        needed = (self._frame_bits + 7) // 8
        out = bytearray()
        while position + 1 < len(data) and len(out) < needed:
            count = data[position]
            if count < 128:
                out += data[position + 1 : position + 2 + count]
                position += count + 2
            else:
                if count > 128:
                    out += data[position + 1 : position + 2] * (257 - count)
                position += 2 if count > 128 else 1
        return bytes(out[:needed])

    def _decoded(self, number: int) -> Frame:
        from pydicom.pixels.decoders.base import get_decoder
        from pydicom.uid import UID

        decoder = get_decoder(UID(self._syntax))
        reasons: list[str] = []
        for plugin in (plugin for plugin in CHAINS[self._syntax] if plugin in decoder.available_plugins):
            try:
                frame, _ = decoder.as_array(self._dataset, index=number, raw=True, decoding_plugin=plugin)
            except (KeyboardInterrupt, SystemExit, JobCancelled):
                raise
            # Rust decoders panic with a BaseException; the next decoder is tried all the same.
            except BaseException as error:  # noqa: BLE001
                reasons.append(f"{plugin}: {type(error).__name__}")
                continue
            if frame.shape == (self.rows, self.columns):
                return np.asarray(frame)
        raise DecodeError(f"{self._name} cannot be decoded ({UID(self._syntax).name}).", hint="; ".join(reasons))
