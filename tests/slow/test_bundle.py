"""The frozen program: it is built, starts, passes its own check, and has every part that the source has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed (pip install .[bundle])")
    folder = tmp_path_factory.mktemp("bundle")
    places = ["--distpath", str(folder / "dist"), "--workpath", str(folder / "build")]
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *places, "medviewer.spec"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1700)
    name = "medviewer.exe" if sys.platform == "win32" else "medviewer"
    return folder / "dist" / "medviewer" / name


def answer(command: list[str | Path], folder: Path, data_dir: Path) -> Any:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["MEDVIEWER_DATA_DIR"] = str(data_dir)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def facts(answers: Any, name: str) -> Any:
    return next(check["facts"] for check in answers["checks"] if check["name"] == name)


def test_the_doctor_passes_and_every_part_is_there(program: Path, tmp_path: Path, data_dir: Path) -> None:
    frozen = answer([program, "doctor", "--device", "cpu", "--json"], tmp_path, data_dir)
    source = answer([sys.executable, "-m", "medviewer", "doctor", "--device", "cpu", "--json"], ROOT, data_dir)
    assert facts(frozen, "Parts") == facts(source, "Parts")
    assert facts(frozen, "Plugins") == facts(source, "Plugins")
    assert facts(frozen, "Decoders") == facts(source, "Decoders")
    assert facts(frozen, "Versions") == facts(source, "Versions")


def test_the_main_job_runs(program: Path, tmp_path: Path, data_dir: Path) -> None:
    answer([program, "demo", "-o", tmp_path / "study", "--size", "96,96,64", "--json"], tmp_path, data_dir)
    words: list[str | Path] = [
        "analyze",
        tmp_path / "study" / "DICOM",
        "-o",
        tmp_path / "out",
        "--device",
        "cpu",
        "--json",
    ]
    report = answer([program, *words], tmp_path, data_dir)
    assert {task["state"] for task in report["tasks"]} == {"success"}
    workspace = tmp_path / "out" / "workspace.mvw"
    for format_id in facts(answer([program, "doctor", "--json"], tmp_path, data_dir), "Parts")["formats"]:
        target = tmp_path / "export" / format_id
        assert answer([program, "export", workspace, "--format", format_id, "-o", target, "--json"], tmp_path, data_dir)


@pytest.mark.skipif(
    not (os.environ.get("DISPLAY") and shutil.which("xdotool")), reason="needs an X display and xdotool"
)
def test_the_window_opens(program: Path, tmp_path: Path, data_dir: Path) -> None:
    environment = {**os.environ, "MEDVIEWER_DATA_DIR": str(data_dir)}
    process = subprocess.Popen([str(program)], cwd=tmp_path, env=environment)
    try:
        search = ["xdotool", "search", "--sync", "--onlyvisible", "--pid", str(process.pid)]
        found = subprocess.run(search, capture_output=True, text=True, timeout=120, check=False)
        assert found.stdout.split()
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)
