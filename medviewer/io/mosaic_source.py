"""Slices out of compressed mosaics: each picture is decoded once, then cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from medviewer.io.decode_worker import DecodeSource
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.native_pixels import Stack
from medviewer.io.pixel_format import PixelFormat
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess


class MosaicSource:
    """Compressed mosaics, decoded in the workers; ``headers[k]`` is slice ``k``, a tile of its picture.

    Attributes
    ----------
    decoders, warnings
        As those of `DecodeSource`.
    """

    def __init__(self, worker: WorkerProcess, headers: Sequence[Header]) -> None:
        paths = list(dict.fromkeys(header.path for header in headers))
        self._source = DecodeSource(worker, [read_header(path) for path in paths])
        self.decoders, self.warnings = self._source.decoders, self._source.warnings
        numbers = {path: n for n, path in enumerate(paths)}
        self._tiles = headers
        self._picture_of = [numbers[header.path] for header in headers]

    def fill(self, ctx: JobContext, stack: Stack, parts: Sequence[range]) -> Iterator[range]:
        """Decode the pictures that slices are in; yield each slice when it is in."""
        wanted: dict[int, list[int]] = {}
        for part in parts:
            for k in part:
                wanted.setdefault(self._picture_of[k], []).append(k)
        pictures = _Pictures(stack, self._tiles, wanted)
        for batch in self._source.fill(ctx, pictures, [range(n, n + 1) for n in sorted(wanted)]):
            for n in batch:
                yield from (range(k, k + 1) for k in wanted[n])


class _Pictures:
    """Stands for a stack of whole pictures, and hands on what is decoded tile by tile."""

    def __init__(self, stack: Stack, tiles: Sequence[Header], wanted: Mapping[int, Sequence[int]]) -> None:
        self._stack = stack
        self._tiles = tiles
        self._wanted = wanted
        count = max(wanted) + 1
        first = next(iter(wanted.values()))[0]
        self.formats: list[PixelFormat] = [self._whole(wanted.get(n, (first,))[0]) for n in range(count)]

    def _whole(self, k: int) -> PixelFormat:
        tile = self._tiles[k].tile
        assert tile is not None
        return replace(self._stack.formats[k], rows=tile.rows, columns=tile.columns)

    def place(self, n: int, stored: npt.NDArray[Any]) -> None:
        """Cut picture `n`."""
        for k in self._wanted[n]:
            tile, form = self._tiles[k].tile, self._stack.formats[k]
            assert tile is not None
            self._stack.place(k, stored[tile.top : tile.top + form.rows, tile.left : tile.left + form.columns])
