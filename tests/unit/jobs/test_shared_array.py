from __future__ import annotations

import errno
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import psutil
import pytest

from medviewer.core.errors import OutOfMemory
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs import shared_array
from medviewer.jobs.shared_array import INLINE_BYTES, Block, new_block, pack, sweep_blocks, unpack


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Blocks of these tests lie apart."""
    monkeypatch.setattr(shared_array, "block_folder", lambda nbytes=0: tmp_path)
    monkeypatch.setattr(shared_array.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_big_arrays_travel_in_blocks_and_small_ones_inline(folder: Path) -> None:
    big, small = np.arange(INLINE_BYTES, dtype=np.int16), np.arange(10)
    message, blocks = pack({"big": big, "small": small, "again": big})
    assert len(blocks) == 1, "the same array is sent once"
    assert len(message) < 2000
    answer = unpack(message, blocks)
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["big"], big)
    np.testing.assert_array_equal(answer["small"], small)
    assert list(folder.iterdir()) == [], "no name is left"


def test_a_volume_keeps_its_geometry_and_stays_read_only_for_its_owner(folder: Path) -> None:
    geometry = Geometry((64, 64, 20), (0.7, 0.7, 2.5), (1, 2, 3))
    volume = Volume(np.ones(geometry.shape, np.int16), geometry, "x", "CT")
    again = unpack(*pack(volume))
    assert isinstance(again, Volume)
    assert again.geometry == geometry
    np.testing.assert_array_equal(again.array, volume.array)
    assert not volume.array.flags.writeable


def test_slices_and_other_orders_survive(folder: Path) -> None:
    base = np.arange(400_000, dtype=np.float32).reshape(100, 80, 50)
    for array in (base[::2], base.T, np.asfortranarray(base), base[:, ::-1]):
        again = unpack(*pack(array))
        np.testing.assert_array_equal(again, array)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_user_may_read_a_block(folder: Path) -> None:
    block = new_block(np.ones(10))
    assert stat.S_IMODE(Path(block.path).stat().st_mode) == 0o600
    block.remove()
    block.remove()


def test_a_message_that_cannot_be_read_leaves_no_block(folder: Path) -> None:
    message, blocks = pack(np.ones(INLINE_BYTES))
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        unpack(message[:-10], blocks)
    assert list(folder.iterdir()) == []


def test_a_value_that_cannot_be_sent_leaves_no_block(folder: Path) -> None:
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pack([np.ones(INLINE_BYTES), lambda: None])
    assert list(folder.iterdir()) == []


def test_blocks_of_dead_processes_are_swept_and_others_kept(folder: Path) -> None:
    dead = next(pid for pid in range(2**22 - 1, 2, -1) if not psutil.pid_exists(pid))
    for owner in (f"{dead}", f"{os.getpid()}", "no-number"):
        (folder / f"{shared_array._PREFIX}{owner}-x").touch()
    (folder / "other").touch()
    assert sweep_blocks() == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{shared_array._PREFIX}{os.getpid()}-x", f"{shared_array._PREFIX}no-number-x", "other"]
    )
    assert sweep_blocks(os.getpid()) == 1


def test_a_block_can_be_opened_twice_and_outlives_its_name(folder: Path) -> None:
    block = new_block(np.arange(5))
    one, two = block.open(), Block(block.path, block.dtype, block.shape).open()
    block.remove()
    one[0] = 9
    assert two[0] == 9


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="cannot reserve room here")
def test_a_full_memory_is_an_error_and_no_crash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(shared_array.os, "posix_fallocate", full)
    with pytest.raises(OutOfMemory, match="no room"):
        pack([np.ones(INLINE_BYTES)])
    assert list(folder.iterdir()) == []
