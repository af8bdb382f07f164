"""Slices into one array: the one path from stored pixels to real values, and to colours.

The array is allocated once, zeroed by the system, filled slice by slice (the middle one first) and never moved, so that
a view may show it while it fills. int16 holds the values where they fit, otherwise int32 or float32.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import psutil

from medviewer.core.errors import DecodeError, OutOfMemory
from medviewer.core.region import Region
from medviewer.core.volume import ColorArray, VoxelArray
from medviewer.io.colors import luminance, stored_to_rgb, to_8_bits
from medviewer.io.dicom_header import Header, Tile
from medviewer.io.pixel_format import PixelFormat
from medviewer.jobs.job import JobContext

_INT16: Final = np.iinfo(np.int16)
_INT32: Final = np.iinfo(np.int32)
_BATCH: Final = 64
#: Bytes that a thread reads before it takes more: threads that take slices in turn wait for each other's page faults.
_RUN_BYTES: Final = 4 * 2**20
_MOST_OF_MEMORY: Final = 0.6


def memory_budget() -> int:
    """Return how many bytes a series may take: a share of what is free, so that the machine does not begin to swap."""
    return int(_MOST_OF_MEMORY * psutil.virtual_memory().available)


def empty_voxels(shape: tuple[int, ...], dtype: npt.DTypeLike) -> VoxelArray:
    """Return zeros of a shape (k, j, i, …).

    Raises
    ------
    OutOfMemory
        ``E_MEMORY``, before a byte is read, when they would take more than `memory_budget`.
    """
    needed, budget = math.prod(shape) * np.dtype(dtype).itemsize, memory_budget()
    if needed > budget:
        raise OutOfMemory(
            f"The series needs {needed / 2**30:.1f} GB of memory; {budget / 2**30:.1f} GB of what is free may be used.",
            hint="Open a part of the series, or close other studies and programs.",
            code="E_MEMORY",
        )
    try:
        return np.zeros(shape, dtype)
    except MemoryError as error:
        raise OutOfMemory(
            f"Not enough memory for {shape[0]} slices of {shape[2]} x {shape[1]}.",
            hint="Open a part of the series, or close other studies and programs.",
            code="E_MEMORY",
        ) from error


class DoesNotFitError(Exception):
    """A value turned out not to fit the type of the array."""


class Stack:
    """The array of a volume while it is filled; with colours, `colors` beside its luminance.

    Parameters
    ----------
    formats : sequence of PixelFormat
        One per slice, all of one size.
    dtype : numpy type
        One of `candidate_types`.
    """

    def __init__(self, formats: Sequence[PixelFormat], dtype: npt.DTypeLike) -> None:
        self.formats = formats
        shape = (len(formats), formats[0].rows, formats[0].columns)
        self.colors: ColorArray | None = None
        if formats[0].is_color:
            self.colors = empty_voxels((*shape, 3), np.uint8)
        self.array = empty_voxels(shape, dtype)
        self._scratch = threading.local()

    def read(self, k: int, path: Path, offset: int, before: int = 0) -> None:
        """Read slice `k` from the uncompressed pixels at `offset`; lengths have been checked before.

        `before` bits of the frames before it lie in its first byte, the lowest first (PS3.5 8.1.1), or in its first
        word.
        """
        form = self.formats[k]
        stored = self._target(k, form)
        packed = form.bits_allocated == 1 or form.in_words
        start = offset - before // 8
        nbytes = (before + form.nbits + 7) // 8
        target = np.empty(nbytes + nbytes % 2 * form.in_words, np.uint8) if packed else stored
        got = _read_at(path, start, target)
        if got < nbytes:
            raise DecodeError(f"{path.name} ended while it was read ({got} of {nbytes} bytes).", code="E_TRUNCATED")
        if form.in_words:
            target.view(np.uint16).byteswap(inplace=True)
            stored[...] = target[before // 8 : before // 8 + form.count].view(stored.dtype).reshape(stored.shape)
        elif packed:
            bits = np.unpackbits(target, bitorder="little")[before : before + form.nbits]
            stored[...] = bits.reshape(stored.shape)
        if form.big_endian and form.bits_allocated > 8:
            stored.byteswap(inplace=True)
        if self.colors is not None:
            self._paint(k, stored_to_rgb(stored, form))
        else:
            self._settle(k, stored, form)

    def read_tile(self, k: int, path: Path, offset: int, tile: Tile) -> None:
        """Read slice `k`, a part of the uncompressed picture at `offset`: of its rows, the columns that are its own."""
        form = self.formats[k]
        stored_type = form.stored_type.newbyteorder(">" if form.big_endian else "<")
        band = np.empty((form.rows, tile.columns), stored_type)
        got = _read_at(path, offset + tile.top * tile.columns * stored_type.itemsize, band.view(np.uint8))
        if got != band.nbytes:
            raise DecodeError(
                f"{path.name} ended while it was read ({got} of {band.nbytes} bytes).", code="E_TRUNCATED"
            )
        self.place(k, band[:, tile.left : tile.left + form.columns].astype(form.stored_type))

    def place(self, k: int, stored: npt.NDArray[Any]) -> None:
        """Take over decoded pixels of slice `k` in native byte order: (rows, columns), or RGB (rows, columns, 3)."""
        form = self.formats[k]
        expected = form.stored_type
        if stored.shape != decoded_shape(form) or stored.dtype != expected:
            raise DecodeError(f"Decoded pixels are {stored.shape} {stored.dtype}, declared {form}.")
        if self.colors is not None:
            self._paint(k, to_8_bits(stored, form) if form.samples == 3 else stored_to_rgb(stored.ravel(), form))
            return
        target = self._target(k, form)
        target[...] = stored
        self._settle(k, target, form)

    def _paint(self, k: int, colors: ColorArray) -> None:
        """Put a coloured slice and its luminance in place."""
        assert self.colors is not None
        self.colors[k] = colors
        self.array[k] = luminance(colors)

    def _target(self, k: int, form: PixelFormat) -> npt.NDArray[Any]:
        """Return where stored pixels go: the slice itself when it has their width and stays integer, else a scratch."""
        plane = self.array[k]
        stored_type = form.stored_type
        if self.colors is not None:
            return np.empty(form.count, stored_type)
        if plane.dtype.kind == "i" and stored_type.kind in "iu" and plane.dtype.itemsize == stored_type.itemsize:
            view: npt.NDArray[Any] = plane.view(stored_type)
            return view
        scratch: VoxelArray | None = getattr(self._scratch, "array", None)
        if scratch is None or scratch.dtype != stored_type:
            scratch = self._scratch.array = np.empty(plane.shape, stored_type)
        return scratch

    def _settle(self, k: int, stored: npt.NDArray[Any], form: PixelFormat) -> None:
        """Drop unused high bits and turn stored pixels into real values in the array."""
        plane = self.array[k]
        if form.bits_stored < form.bits_allocated:
            _drop_unused_bits(stored, form)
        if form.lut is not None:
            plane[...] = form.lut(stored)
            return
        if plane.dtype.kind == "f":
            # Computed in double precision, rounded once.
            real = stored * np.float64(form.slope)
            real += form.intercept
            plane[...] = real
            return
        intercept = int(form.intercept)
        if not _fits(stored, form, plane.dtype, intercept):
            raise DoesNotFitError
        if not np.may_share_memory(stored, plane):
            plane[...] = stored
        if intercept:
            # Modular arithmetic: right for every result that fits, also where the stored value does not.
            plane += _wrapped(intercept, plane.dtype)


def _read_at(path: Path, offset: int, target: npt.NDArray[Any]) -> int:
    """Fill an array with the bytes of a file from `offset` on; return how many there were."""
    with FileIO(path) as file:
        file.seek(offset)
        return file.readinto(target.data.cast("B"))


@lru_cache(64)
def _wrapped(value: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a whole number modulo the width of a signed type, as an array of no dimension."""
    bits = 8 * dtype.itemsize
    value = (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    return np.array(value, dtype)


def decoded_shape(form: PixelFormat) -> tuple[int, ...]:
    """Return the shape of a decoded frame."""
    return (form.rows, form.columns, 3) if form.samples == 3 else (form.rows, form.columns)


def _drop_unused_bits(stored: npt.NDArray[Any], form: PixelFormat) -> None:
    """Clear (unsigned) or sign-extend (signed) the bits above BitsStored, where any is in use."""
    low, high = form.stored_range
    if int(stored.max()) <= high and (not form.signed or int(stored.min()) >= low):
        return
    shift = stored.dtype.type(form.bits_allocated - form.bits_stored)
    np.left_shift(stored, shift, out=stored)
    np.right_shift(stored, shift, out=stored)


def _fits(stored: npt.NDArray[Any], form: PixelFormat, dtype: np.dtype[Any], intercept: int) -> bool:
    """Whether every value fits `dtype` after the shift; looks at the pixels only where their bits leave it open."""
    limits = np.iinfo(dtype)
    low, high = form.stored_range
    if low + intercept < limits.min and int(stored.min()) + intercept < limits.min:
        return False
    return high + intercept <= limits.max or int(stored.max()) + intercept <= limits.max


def candidate_types(formats: Sequence[PixelFormat]) -> tuple[type[np.generic], ...]:
    """Return the types to try in turn: the smallest that usually holds the values, then one that always does."""
    if all(form.is_color for form in formats):
        return (np.int16,)
    if not all(form.only_shifts for form in formats):
        return (np.float32,)
    low = min(form.stored_range[0] + int(form.intercept) for form in formats)
    high = max(form.stored_range[1] + int(form.intercept) for form in formats)
    if low >= _INT16.min and high <= _INT16.max:
        return (np.int16,)
    if all(form.bits_allocated <= 16 for form in formats) and low >= _INT32.min and high <= _INT32.max:
        # Most 16-bit images use a part of their range.
        return (np.int16, np.int32)
    return (np.int32,) if low >= _INT32.min and high <= _INT32.max else (np.int32, np.float32)


class SliceSource(Protocol):
    """Where slices come from: the files themselves, or the decode worker."""

    def fill(self, ctx: JobContext, stack: Stack, parts: Sequence[range]) -> Iterator[range]:
        """Fill parts of the stack; yield the slices that are in, batch by batch and in any order."""


class NativeSource:
    """Uncompressed files; ``headers[k]`` is slice ``k``, its length checked.

    Parameters
    ----------
    headers : sequence of Header
    helper : ThreadPoolExecutor
        Reads along with the caller: reading and rescaling leave the interpreter. Where no second core is free, the
        caller does it all.
    """

    def __init__(self, headers: Sequence[Header], helper: ThreadPoolExecutor) -> None:
        self._headers = headers
        self._helper = helper

    def fill(self, ctx: JobContext, stack: Stack, parts: Sequence[range]) -> Iterator[range]:
        """Read slices in order."""
        for batch in batches(parts, _BATCH):
            ctx.check_cancelled()
            self._fill(stack, batch)
            yield batch

    def _fill(self, stack: Stack, slices: range) -> None:
        # Both take the next run from one iterator, whose steps are atomic.
        todo = iter(list(batches([slices], max(1, _RUN_BYTES // stack.formats[slices.start].nbytes))))
        helped = self._helper.submit(self._read, stack, todo) if len(slices) > 1 else None
        try:
            self._read(stack, todo)
        finally:
            if helped is not None and not helped.cancel():
                helped.result()

    def _read(self, stack: Stack, todo: Iterator[range]) -> None:
        for k in chain.from_iterable(todo):
            header = self._headers[k]
            assert header.pixel_offset is not None
            try:
                if header.tile is not None:
                    stack.read_tile(k, header.path, header.pixel_offset, header.tile)
                    continue
                # Frames of single bits need not begin at a byte, those in words not at a word.
                form = stack.formats[k]
                before = (header.frame or 0) * form.nbits % (16 if form.in_words else 8)
                stack.read(k, header.path, header.pixel_offset, before)
            except OSError as error:
                raise DecodeError(
                    f"{header.path.name} cannot be read: {error.strerror or type(error).__name__}.", code="E_FILE"
                ) from error


def load_stack(
    ctx: JobContext,
    formats: Sequence[PixelFormat],
    source: SliceSource,
    on_first: Callable[[VoxelArray, ColorArray | None], None],
    on_filled: Callable[[Region], None],
    shown: int = 0,
) -> VoxelArray:
    """Fill an array, and its colours, with all slices, the middle one of those that are shown first.

    Parameters
    ----------
    ctx : JobContext
        For progress and cancel.
    formats : sequence of PixelFormat
        One per slice.
    source : SliceSource
        Where the slices come from.
    on_first : callable
        Gets the array once the middle slice is in it, and the colours (k, j, i, 3) or None; called again with another
        array if the first type was too small.
    on_filled : callable
        Gets each region (k, j, i) that has been filled.
    shown : int
        How many slices are shown at first: those of the first point of a time axis; 0 means all.

    Returns
    -------
    array of shape (k, j, i)
        The one that `on_first` got last.
    """
    if any((form.rows, form.columns) != (formats[0].rows, formats[0].columns) for form in formats):
        raise DecodeError("The slices differ in size.", code="E_DIMENSIONS")
    if len({form.is_color for form in formats}) > 1:
        raise DecodeError("Some of the slices are grey and some have colours.", code="E_PHOTOMETRIC")
    types = candidate_types(formats)
    for dtype in types:
        stack = Stack(formats, dtype)
        try:
            done = 0
            for parts in _in_turn(len(formats), (shown or len(formats)) // 2):
                for slices in source.fill(ctx, stack, parts):
                    if done == 0:
                        on_first(stack.array, stack.colors)
                    done += len(slices)
                    on_filled(Region((slices.start, 0, 0), (slices.stop, formats[0].rows, formats[0].columns)))
                    ctx.progress(done / len(formats), "Reading slices")
        except DoesNotFitError:
            if dtype is types[-1]:
                raise DecodeError("Pixel values are too large for any type.", code="E_BITS") from None
            continue
        return stack.array
    raise AssertionError("there is always one type")


def batches(parts: Sequence[range], size: int) -> Iterator[range]:
    """Cut ranges into ranges of at most `size`, which hardly differ in length."""
    for part in parts:
        count = -(-len(part) // size)
        for n in range(count):
            yield part[n * len(part) // count : (n + 1) * len(part) // count]


def _in_turn(count: int, middle: int) -> Iterator[tuple[range, ...]]:
    """Yield the middle slice, which is shown first, then those before and behind it."""
    yield (range(middle, middle + 1),)
    yield (range(middle), range(middle + 1, count))
