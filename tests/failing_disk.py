"""A disk on which the n-th call fails."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class FailingDisk:
    """Counts calls that change the disk, and lets one of them fail, while it is entered."""

    def __init__(self) -> None:
        self.count, self.fail_at, self.number = 0, -1, errno.ENOSPC
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> FailingDisk:
        patch = self._patch
        for name in ("fsync", "replace", "rename", "mkdir"):
            patch.setattr(os, name, self._guarded(getattr(os, name)))
        opener = builtins.open

        def guarded_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if any(c in mode for c in "wxa+"):
                self.tick()
                opened = opener(file, mode, *args, **kwargs)
                return _Writes(opened, self) if "b" in mode else opened
            return opener(file, mode, *args, **kwargs)

        patch.setattr(builtins, "open", guarded_open)
        patch.setattr(io, "open", guarded_open)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            return call(*args, **kwargs)

        return guarded

    def tick(self) -> None:
        self.count += 1
        if self.count == self.fail_at:
            raise OSError(self.number, os.strerror(self.number))

    def tries(self) -> Iterator[int]:
        """Fail at call 1, 2, 3, … until nothing fails any more."""
        n = 0
        while True:
            n += 1
            self.count, self.fail_at = 0, n
            yield n
            if self.count < n:
                return


class _Writes:
    """A file whose writes count."""

    def __init__(self, file: Any, disk: FailingDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> int:
        self._disk.tick()
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Writes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
