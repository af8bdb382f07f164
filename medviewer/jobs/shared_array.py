"""NumPy arrays that two processes see, without pickling them.

A block is a file in memory where the system has such a folder (``/dev/shm``), otherwise in the temporary folder, mapped
by both sides. A plain file works the same on every desktop and leaves no kernel object behind that only a resource
tracker knows; its name holds the owner's process id, so that what a killed owner left is swept at the next start.
"""

from __future__ import annotations

import errno
import io
import math
import os
import pickle
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import psutil

from medviewer.core.errors import OutOfMemory

#: Smaller arrays travel in the message.
INLINE_BYTES = 64 * 1024
_PREFIX = "medviewer-block-"


def block_folder(nbytes: int = 0) -> Path:
    """Return the folder for blocks: in memory when there is room for twice `nbytes`, else the temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * nbytes + (64 << 20):
        return memory
    return Path(tempfile.gettempdir())


def sweep_blocks(owner: int | None = None) -> int:
    """Remove blocks whose owner no longer runs, or those of one process that has ended; return how many."""
    removed = 0
    for folder in {Path("/dev/shm"), Path(tempfile.gettempdir())}:
        for path in folder.glob(f"{_PREFIX}{'' if owner is None else owner}*"):
            pid = path.name.removeprefix(_PREFIX).split("-")[0]
            if not pid.isdigit() or (owner is None and psutil.pid_exists(int(pid))):
                continue
            if owner is None or int(pid) == owner:
                Block(str(path), "", ()).remove()
                removed += 1
    return removed


@dataclass(frozen=True, slots=True)
class Block:
    """Where a shared array lies."""

    path: str
    dtype: str
    shape: tuple[int, ...]

    def open(self) -> npt.NDArray[np.generic]:
        """Map the array; the mapping keeps it alive after `remove` (where the system allows removing an open file)."""
        return np.memmap(self.path, dtype=np.dtype(self.dtype), mode="r+", shape=self.shape)

    def remove(self) -> None:
        """Remove the name. On Windows an open block stays until its owner's sweep."""
        try:
            Path(self.path).unlink(missing_ok=True)
        except PermissionError:
            return


def empty_block(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Block:
    """Make a new block of zeros, readable by this user only.

    Raises
    ------
    OutOfMemory
        When there is no room for it.
    """
    block_type = np.dtype(dtype)
    nbytes = math.prod(shape) * block_type.itemsize
    path = block_folder(nbytes) / f"{_PREFIX}{os.getpid()}-{uuid4().hex}"
    block = Block(str(path), block_type.str, shape)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "r+b") as file:
            _reserve(file, nbytes)
    except OSError as error:
        block.remove()
        raise OutOfMemory(
            f"There is no room for an array of {nbytes / 2**20:.0f} MB.",
            hint="Close other programs or studies and try again.",
        ) from error
    return block


def new_block(array: npt.NDArray[np.generic]) -> Block:
    """Copy an array into a new block; see `empty_block`."""
    block = empty_block(array.shape, array.dtype)
    view = block.open()
    view[...] = array
    del view
    return block


def _reserve(file: BinaryIO, nbytes: int) -> None:
    """Make the file `nbytes` long with its room taken: a full memory is an error here, not a crash when written to."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, nbytes)
        except OSError as error:
            # Some file systems cannot reserve; there the length has to do.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    file.truncate(nbytes)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, blocks: list[Block]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._blocks = blocks
        self._known: dict[int, Block] = {}

    def persistent_id(self, obj: object) -> Block | None:
        if not isinstance(obj, np.ndarray) or obj.nbytes < INLINE_BYTES or obj.dtype.hasobject:
            return None
        block = self._known.get(id(obj))
        if block is None:
            block = new_block(obj)
            self._known[id(obj)] = block
            self._blocks.append(block)
        return block


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: object) -> npt.NDArray[np.generic]:
        if not isinstance(pid, Block):
            raise pickle.UnpicklingError("unknown reference in a message")
        return pid.open()


def pack(value: object) -> tuple[bytes, list[Block]]:
    """Turn a value into a message; big arrays go into blocks, which the receiver of the message removes.

    Messages travel only between this program's own processes, over a connection with a secret key.
    """
    file = io.BytesIO()
    blocks: list[Block] = []
    try:
        _Pickler(file, blocks).dump(value)
    except BaseException:
        for block in blocks:
            block.remove()
        raise
    return file.getvalue(), blocks


def unpack(message: bytes, blocks: list[Block]) -> object:
    """Turn a message back into a value and remove the names of its blocks."""
    try:
        return _Unpickler(io.BytesIO(message)).load()
    finally:
        for block in blocks:
            block.remove()
