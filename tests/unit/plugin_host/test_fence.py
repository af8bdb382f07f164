"""What a plugin may reach beyond its values: what it has not declared is refused by name, and nothing happens."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.errors import MedViewerError, PluginError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_task
from medviewer.plugin_host.loader import TaskSource
from medviewer.plugin_host.manifest import read_manifest
from medviewer.plugin_host.run_task import RunPayload
from tests.conftest import ROOT

TmpPlugin = Callable[..., Path]
CTX = NullContext()

#: What a plugin tries -> what it must have declared. Names in capitals are replaced by paths.
DEEDS = {
    "write into the study": ('open("STUDY/new.dcm", "w").write("x")', "files"),
    "change a slice": ('open("STUDY/slice.dcm", "r+b").write(b"x")', "files"),
    "delete a slice": ('__import__("os").remove("STUDY/slice.dcm")', "files"),
    "rename a slice": ('__import__("os").rename("STUDY/slice.dcm", "STUDY/other.dcm")', "files"),
    "delete the study": ('__import__("shutil").rmtree("STUDY")', "files"),
    "read a file of the user": ('open("HOME/secret.txt").read()', "home"),
    "look around in the home": ('__import__("os").listdir("HOME")', "home"),
    "connect": ('__import__("socket").create_connection(("127.0.0.1", PORT), 5)', "network"),
    "look up a name": ('__import__("socket").getaddrinfo("localhost", 80)', "network"),
    "start a program": ('__import__("subprocess").run(["true"])', "programs"),
    "start a shell": ('__import__("os").system("true")', "programs"),
}


@pytest.fixture
def volume() -> Volume:
    array = np.full((2, 3, 3), -1000, np.int16)
    return Volume(array, Geometry((3, 3, 2), (1.0, 1.0, 1.0)), modality="CT")


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study and a home, neither of which lies where anything may write."""
    for name in ("study", "home", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "study" / "slice.dcm").write_bytes(b"slice")
    (tmp_path / "home" / "secret.txt").write_text("secret", encoding="utf-8")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path


def source(script: Path, reaches: frozenset[str] = frozenset()) -> TaskSource:
    (info,) = read_manifest(script).tasks
    return TaskSource(replace(info, reaches=reaches), script.parent)


def code(deed: str, place: Path, port: int) -> str:
    named = deed.replace("STUDY", str(place / "study")).replace("HOME", str(place / "home"))
    return named.replace("PORT", str(port))


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("when", ["import", "run"])
def test_M10_S19_what_was_not_declared_is_refused_and_does_not_happen(
    tmp_plugin: TmpPlugin, volume: Volume, place: Path, port: int, deed: str, when: str
) -> None:
    text, need = DEEDS[deed]
    anchor = "class Air:\n" if when == "import" else '        ctx.progress(0.5, "Thresholding")\n'
    indent = "" if when == "import" else "        "
    script = tmp_plugin("tmp_air", (anchor, f"{indent}{code(text, place, port)}\n{anchor}"))
    with pytest.raises(PluginError) as caught:
        run_task.run(CTX, RunPayload.of(source(script), {"image": volume}))
    assert caught.value.code == "E_PLUGIN_REACH"
    assert "tmp_air 0.1.0" in caught.value.text
    assert need in caught.value.hint
    assert [path.name for path in (place / "study").iterdir()] == ["slice.dcm"]
    assert (place / "study" / "slice.dcm").read_bytes() == b"slice"


@pytest.mark.parametrize("deed", ["write into the study", "read a file of the user", "connect", "start a program"])
def test_M10_what_its_manifest_declares_it_may(
    tmp_plugin: TmpPlugin, volume: Volume, place: Path, port: int, deed: str
) -> None:
    text, need = DEEDS[deed]
    anchor = '        ctx.progress(0.5, "Thresholding")\n'
    script = tmp_plugin("tmp_air", (anchor, f"        {code(text, place, port)}\n{anchor}"))
    output = run_task.run(CTX, RunPayload.of(source(script, frozenset({need})), {"image": volume}))
    assert len(output.results) == 1


def test_M10_it_may_use_a_temporary_file_and_its_own_folder(tmp_plugin: TmpPlugin, volume: Volume, place: Path) -> None:
    anchor = '        ctx.progress(0.5, "Thresholding")\n'
    script = tmp_plugin(
        "tmp_air",
        (
            anchor,
            f"""        import tempfile
        from pathlib import Path
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "x").write_text("x")
            assert (Path(folder) / "x").read_text() == "x"
        assert "Thresholding" in Path(__file__).read_text()
{anchor}""",
        ),
    )
    assert len(run_task.run(CTX, RunPayload.of(source(script), {"image": volume})).results) == 1


def test_S19_what_a_plugin_swallows_is_refused_all_the_same(tmp_plugin: TmpPlugin, volume: Volume, place: Path) -> None:
    anchor = '        ctx.progress(0.5, "Thresholding")\n'
    deed = code(DEEDS["delete a slice"][0], place, 0)
    script = tmp_plugin(
        "tmp_air",
        (anchor, f"        try:\n            {deed}\n        except OSError:\n            pass\n{anchor}"),
    )
    run_task.run(CTX, RunPayload.of(source(script), {"image": volume}))
    assert (place / "study" / "slice.dcm").exists()


def test_S19_the_program_itself_is_not_fenced_afterwards(tmp_plugin: TmpPlugin, volume: Volume, place: Path) -> None:
    run_task.run(CTX, RunPayload.of(source(tmp_plugin()), {"image": volume}))
    (place / "study" / "new.txt").write_text("x", encoding="utf-8")


def test_S19_a_manifest_declares_only_what_there_is_to_declare(tmp_plugin: TmpPlugin) -> None:
    good = tmp_plugin("tmp_one", ('# lane = "cpu"', '# lane = "cpu"\n# reaches = ["network"]'))
    assert read_manifest(good).tasks[0].reaches == {"network"}
    bad = tmp_plugin("tmp_two", ('# lane = "cpu"', '# lane = "cpu"\n# reaches = ["everything"]'))
    with pytest.raises(MedViewerError, match="reaches"):
        read_manifest(bad)


def test_S19_no_plugin_that_ships_reaches_out_but_the_one_that_says_so() -> None:
    manifests = [*(ROOT / "plugins").glob("*/plugin.toml"), *(ROOT / "plugins").glob("*.py")]
    reaching = {task.id: task.reaches for path in manifests for task in read_manifest(path).tasks if task.reaches}
    assert reaching == {"nninteractive_server": {"network"}}


def test_S19_reading_a_manifest_runs_nothing(tmp_plugin: TmpPlugin) -> None:
    script = tmp_plugin("tmp_loud", ("class Air:", 'raise SystemExit("imported")\n\n\nclass Air:'))
    assert read_manifest(script).tasks
    assert "tmp_loud" not in sys.modules
