"""Archives: nothing leaves the folder, nothing explodes, everything is removed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from medviewer.core.errors import InputError
from medviewer.io import archive_rules as module
from medviewer.io.archive import close_all, extract, is_archive, source_of
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    close_all()


def zipped(tmp_path: Path, members: dict[str, bytes], **more: int) -> Path:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = more.get("mode", 0o600) << 16
            file.writestr(info, data)
    return path


def test_files_keep_their_names_and_bytes(tmp_path):
    archive = extract(CTX, zipped(tmp_path, {"a/b/1.dcm": b"one", "a/2.dcm": b"two", "empty/": b""}))
    assert (archive.folder / "a" / "b" / "1.dcm").read_bytes() == b"one"
    assert (archive.folder / "a" / "2.dcm").read_bytes() == b"two"
    assert source_of(archive.folder / "a" / "2.dcm") == tmp_path / "a.zip"
    assert source_of(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_folder_is_private(tmp_path):
    archive = extract(CTX, zipped(tmp_path, {"a/1": b"x"}))
    assert stat.S_IMODE(archive.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((archive.folder / "a").stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize(
    "name",
    [
        "/etc/evil",
        "../evil",
        "a/../../evil",
        "a\\..\\..\\evil",
        "C:\\evil",
        "C:evil",
        "\\\\host\\share\\evil",
        "//evil",
    ],
)
def test_names_that_leave_the_folder_are_refused(tmp_path, own_temporary_folder, name):
    before = set(tmp_path.rglob("*")) | {tmp_path / "a.zip"}
    with pytest.raises(InputError) as refusal:
        extract(CTX, zipped(tmp_path, {"good": b"x", name: b"evil"}))
    assert refusal.value.code == "E_UNSAFE_ARCHIVE"
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO | 0o600])
def test_links_and_devices_are_refused(tmp_path, mode):
    with pytest.raises(InputError) as refusal:
        extract(CTX, zipped(tmp_path, {"link": b"/etc/passwd"}, mode=mode))
    assert refusal.value.code == "E_UNSAFE_ARCHIVE"


@pytest.mark.parametrize("name", ["con", "NUL.dcm", "a. .", "x" * 400, "p:q?*|<>", "é\u202e\n", "-rf"])
def test_odd_names_become_legal_ones(tmp_path, name):
    archive = extract(CTX, zipped(tmp_path, {f"d/{name}": b"x", "d/other": b"y"}))
    files = [path for path in archive.folder.rglob("*") if path.is_file()]
    for path in files:
        assert path.resolve().is_relative_to(archive.folder.resolve())
        assert len(path.name) <= 110
        assert not set(path.name) & set('<>:"|?*\n\u202e')
        assert path.name.lower().split(".")[0] not in ("con", "nul")


def test_a_name_that_ends_before_it_begins_is_refused(tmp_path, own_temporary_folder):
    path = zipped(tmp_path, {"zz.dcm": b"abc"})
    path.write_bytes(path.read_bytes().replace(b"zz.dcm", b"\0z.dcm"))
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code == "E_UNSAFE_ARCHIVE"


def test_names_that_collide_are_kept_apart(tmp_path):
    archive = extract(CTX, zipped(tmp_path, {"a?.dcm": b"1", "a*.dcm": b"2", "A_.dcm": b"3"}))
    assert sorted(path.read_bytes() for path in archive.folder.iterdir()) == [b"1", b"2", b"3"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, own_temporary_folder):
    monkeypatch.setattr(module, "FREE_BYTES", 1000)
    path = zipped(tmp_path, {"zeros": bytes(5_000_000)})
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code == "E_BOMB"
    assert list(own_temporary_folder.iterdir()) == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path, own_temporary_folder):
    path = zipped(tmp_path, {"zeros": bytes(100_000)})
    data = bytearray(path.read_bytes())
    size = (100_000).to_bytes(4, "little")
    at = data.rindex(size)
    data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code in ("E_BOMB", "E_ARCHIVE")
    assert list(own_temporary_folder.iterdir()) == []


def test_encrypted_and_broken_archives_are_named(tmp_path):
    path = zipped(tmp_path, {"a": b"x" * 100})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code == "E_ENCRYPTED"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code == "E_ARCHIVE"


def test_the_same_archive_is_unpacked_once(tmp_path):
    path = zipped(tmp_path, {"a": b"x"})
    assert extract(CTX, path) is extract(CTX, path)
    first = extract(CTX, path).folder
    zipped(tmp_path, {"a": b"longer"})
    assert extract(CTX, path).folder != first


def test_cancel_leaves_nothing(tmp_path, own_temporary_folder):
    class Cancelled(NullContext):
        def progress(self, fraction, text=""):
            raise JobCancelled

    with pytest.raises(JobCancelled):
        extract(Cancelled(), zipped(tmp_path, {"a": b"x"}))
    assert list(own_temporary_folder.iterdir()) == []


def test_folders_of_dead_processes_are_removed(tmp_path, own_temporary_folder):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    orphan = own_temporary_folder / f"medviewer-archive-{child.pid}-xyz"
    orphan.mkdir()
    mine = own_temporary_folder / f"medviewer-archive-{os.getpid()}-xyz"
    mine.mkdir()
    extract(CTX, zipped(tmp_path, {"a": b"x"}))
    assert not orphan.exists()
    assert mine.exists()


def test_the_end_of_the_process_removes_the_folder(tmp_path):
    path = zipped(tmp_path, {"a": b"x"})
    script = (
        "import sys; from pathlib import Path; from medviewer.io.archive import extract;"
        "from medviewer.jobs.job import NullContext; print(extract(NullContext(), Path(sys.argv[1])).folder)"
    )
    folder = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert folder.strip()
    assert not Path(folder.strip()).exists()


def test_what_is_an_archive(tmp_path):
    assert is_archive(zipped(tmp_path, {"a": b"x"}))
    (tmp_path / "b.zip").write_bytes(b"no")
    assert not is_archive(tmp_path / "b.zip")
