"""The command line: what it prints where, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medviewer import __main__ as entry
from medviewer.cli import commands, doctor, window
from medviewer.cli.console import Output
from medviewer.cli.exit_codes import exit_code
from medviewer.cli.info import show_studies
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import ExportError, InputError, OutOfMemory, PluginError, WorkerDied, WorkspaceError
from medviewer.plugin_host.registry import PluginRegistry
from tests.dicom_makers import pixels, write_slice

TmpPlugin = Callable[..., Path]


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = entry.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert entry.main(["demo", "-o", str(folder), "--size", "48,48,32", "--seed", "3"]) == 0
    return folder


@pytest.fixture
def air_plugin(tmp_plugin: TmpPlugin, data_dir: Path) -> None:
    """A task that needs no torch, in the user's plugin folder."""
    (data_dir / "plugins").mkdir()
    script = tmp_plugin("tmp_air")
    script.rename(data_dir / "plugins" / script.name)


def test_the_words_that_are_commands_are_the_commands() -> None:
    names = [command.name or command.callback.__name__ for command in commands.cli.registered_commands]
    names += [group.name for group in commands.cli.registered_groups]
    assert sorted(names) == sorted(entry.COMMANDS)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(command in out for command in entry.COMMANDS)
    assert "not a medical device" in " ".join(out.split())
    code, out, _ = run(capsys, "--version")
    assert (code, out.split()[0]) == (0, "medviewer")


@pytest.mark.parametrize(
    "words",
    [
        ["analyze"],
        ["analyze", "x"],
        ["analyze", "x", "-o", "y", "--device", "tpu"],
        ["demo", "--size", "64"],
        ["demo", "--size", "8,64,64"],
        ["demo", "--kind", "knee"],
        ["demo", "--seed", "-1"],
        ["info"],
        ["run", "no-such-script.py"],
        ["--frobnicate"],
        ["analyze", ".", "-o", "x", "--task", "no.such"],
    ],
)
def test_wrong_usage_is_2(
    capsys: pytest.CaptureFixture[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.strip()


def test_bad_input_is_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "info", tmp_path / "nothing", "--json")
    assert code == 3
    assert json.loads(out)["error"]["code"].startswith("E_")
    assert "nothing" in err
    (tmp_path / "text.txt").write_text("not an image")
    assert run(capsys, "analyze", tmp_path, "-o", tmp_path / "out")[0] == 3
    assert run(capsys, "export", tmp_path / "none.mvw", "--format", "nifti", "-o", tmp_path / "out")[0] == 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 3),
        (WorkspaceError("x"), 3),
        (InputError("x", code="E_DEVICE"), 2),
        (PluginError("x", code="E_UNKNOWN_TASK"), 2),
        (ExportError("x", code="E_FORMAT"), 2),
        (PluginError("x"), 4),
        (WorkerDied("x"), 4),
        (OutOfMemory("x"), 4),
        (ExportError("x"), 4),
    ],
)
def test_exit_codes(error: Any, code: int) -> None:
    assert exit_code(error) == code


def test_a_demo_study_has_its_truth_beside_it(study: Path) -> None:
    assert len(list((study / "DICOM").iterdir())) == 32
    truth = json.loads((study / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert (truth["seed"], truth["size"]) == (3, [48, 48, 32])


def test_info_tells_films_and_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    frames = np.zeros((5, 20, 30), np.uint8)
    values = {"ImagePositionPatient": None, "Modality": "US", "NumberOfFrames": 5, "FrameTime": 40.0}
    write_slice(tmp_path / "film.dcm", frames, Rows=20, Columns=30, SeriesDescription="Heart", **values)
    code, out, _ = run(capsys, "info", tmp_path)
    assert code == 0
    assert "US  Heart  30×20  0.8×0.7 mm  film of 5 frames  1 file\n" in out
    (tmp_path / "film.dcm").unlink()
    Image.fromarray(frames[0]).save(tmp_path / "mole.png")
    assert "photo mole  30×20  picture  1 file\n" in run(capsys, "info", tmp_path)[1]
    (series,) = json.loads(run(capsys, "info", tmp_path, "--json")[1])["studies"][0]["series"]
    assert (series["stacking"], series["spacing"]) == ("number", None)


@pytest.mark.parametrize(
    ("modality", "kind", "refusal", "words"),
    [
        ("RTSTRUCT", "rtstruct", "E_NOT_IMAGE", "RTSTRUCT Tumour  1 file  loads onto its image"),
        ("SR", "sr", "E_NOT_IMAGE", "SR  Tumour  1 file  not an image"),
        ("XX", "dicom", "E_NOT_IMAGE", "XX  Tumour  1 file  cannot be opened"),
        ("CT", "dicom", "E_TRUNCATED", "CT  Tumour  1 file  cannot be opened"),
    ],
)
def test_info_tells_what_is_no_image(
    capsys: pytest.CaptureFixture[str], modality: str, kind: str, refusal: str, words: str
) -> None:
    series = SeriesRef(
        key="1", series_instance_uid="1", study_instance_uid="2", modality=modality, description="Tumour",
        files=(Path("a.dcm"),), kind=kind, volume=False, refusal=refusal,
    )  # fmt: skip
    show_studies(Output(), [Study(study_instance_uid="2", series=(series,))], {})
    assert f"  {words}\n" in capsys.readouterr().out


def test_info_tells_series_and_geometry(capsys: pytest.CaptureFixture[str], study: Path) -> None:
    code, out, _ = run(capsys, "info", study / "DICOM", "--json")
    assert code == 0
    ((series,),) = [one["series"] for one in json.loads(out)["studies"]]
    assert (series["modality"], series["size"], series["volume"]) == ("CT", [48, 48, 32], True)
    assert len(series["direction"]) == 9
    assert series["origin"] is not None
    code, out, _ = run(capsys, "info", study / "DICOM")
    assert code == 0
    assert "48×48×32" in out
    assert "LPS from" in out


def test_tasks_lists_the_usable_and_the_broken(
    capsys: pytest.CaptureFixture[str], air_plugin: None, data_dir: Path
) -> None:
    (data_dir / "plugins" / "stray.py").write_text("x = 1\n")
    code, out, _ = run(capsys, "tasks", "--json")
    assert code == 0
    answer = json.loads(out)
    assert "tmp_air.air" in [task["id"] for task in answer["tasks"]]
    assert "stray" in [broken["name"] for broken in answer["broken"]]
    code, out, _ = run(capsys, "tasks")
    assert "tmp_air.air" in out
    assert "Cannot be used: stray" in out


def test_a_time_point_is_listed_and_chosen(
    capsys: pytest.CaptureFixture[str], air_plugin: None, tmp_path: Path
) -> None:
    for n in range(8):
        point, k = divmod(n, 4)
        write_slice(
            tmp_path / "in" / f"{n}.dcm", pixels(n), (0.0, 0.0, 2.0 * k), EchoTime=20.0 * (point + 1), InstanceNumber=n
        )
    code, out, _ = run(capsys, "info", tmp_path / "in")
    assert code == 0
    assert "2 points by echo time: 0: TE 20 ms; 1: TE 40 ms" in out
    _, out, _ = run(capsys, "info", tmp_path / "in", "--json")
    assert json.loads(out)["studies"][0]["series"][0]["time_labels"] == ["TE 20 ms", "TE 40 ms"]
    words = ("analyze", tmp_path / "in", "--task", "tmp_air.air", "--device", "cpu", "--json")
    code, out, err = run(capsys, *words, "-o", tmp_path / "out", "--time", "1")
    assert code == 0, err
    report = json.loads(out)
    assert report["series"]["time_point"] == "TE 40 ms (2 of 2)"
    assert report["tasks"][0]["run"]["time_points"] == ["TE 40 ms (2 of 2)"]
    code, _, err = run(capsys, *words, "-o", tmp_path / "other", "--time", "2")
    assert code == 3
    assert "2 points" in err


def test_analyze_then_export(capsys: pytest.CaptureFixture[str], study: Path, air_plugin: None, tmp_path: Path) -> None:
    code, out, err = run(
        capsys, "analyze", study / "DICOM", "-o", tmp_path / "out", "--task", "tmp_air.air", "--device", "cpu", "--json"
    )
    assert code == 0, err
    report = json.loads(out)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["series"]["decoder"] == "native"
    (task,) = report["tasks"]
    assert (task["task"], task["state"], task["run"]["device"]) == ("tmp_air.air", "success", "cpu")
    (segment,) = task["segments"]
    assert segment["file"] == "masks/tmp_air.air__Air.nii.gz"
    assert (tmp_path / "out" / segment["file"]).is_file()
    assert report["peak_memory_bytes"]["model"] > 0
    with (tmp_path / "out" / "lesions.csv").open(encoding="utf-8") as file:
        columns = "rank,label,score,x_lps_mm,y_lps_mm,z_lps_mm,diameter_mm,task"
        assert next(csv.reader(file)) == columns.split(",")

    saved = tmp_path / "out" / "workspace.mvw"
    code, out, err = run(capsys, "statistics", saved, "--json")
    assert code == 0, err
    ((measured,),) = [image["segments"] for image in json.loads(out)["images"]]
    assert measured["name"] == "Air"
    assert measured["volume_ml"] == pytest.approx(segment["volume_ml"], abs=1e-3)
    assert measured["maximum"] < -400
    code, out, err = run(capsys, "statistics", saved)
    (line,) = csv.DictReader(out.splitlines())
    assert float(line["sphericity"]) == pytest.approx(measured["sphericity"])
    assert run(capsys, "statistics", tmp_path / "no.mvw")[0] == 3
    code, out, err = run(capsys, "export", saved, "--format", "nifti", "-o", tmp_path / "nifti", "--json")
    assert code == 0, err
    files = json.loads(out)["files"]
    assert files
    assert all(Path(path).is_file() for path in files)
    code, _, err = run(capsys, "export", saved, "--format", "nifti", "-o", tmp_path / "nifti")
    assert (code, "E_EXISTS" in err) == (4, True)
    assert run(capsys, "export", saved, "--format", "floppy", "-o", tmp_path / "no")[0] == 2
    options = ["--option", "dataset_id=42", "--option", "name=Air"]
    code, out, err = run(capsys, "export", saved, "--format", "nnunet", "-o", tmp_path / "nnunet", *options)
    assert code == 0, err
    assert (tmp_path / "nnunet" / "Dataset042_Air" / "dataset.json").is_file()
    assert run(capsys, "export", saved, "--format", "dicom-seg", "-o", tmp_path / "seg")[0] == 0
    for wrong in ("dataset_id=many", "colour=red", "overlap=maybe"):
        words = ["export", saved, "--format", "nnunet", "-o", tmp_path / "no", "--option", wrong]
        assert run(capsys, *words)[0] == 2


def test_G14_a_single_slice_is_refused_in_words(
    capsys: pytest.CaptureFixture[str], air_plugin: None, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    write_slice(tmp_path / "one" / "IM1", pixels())
    for task in ([], ["--task", "tmp_air.air"]):
        code, out, _ = run(capsys, "analyze", tmp_path / "one", "-o", tmp_path / "out", "--json", *task)
        assert code == 3
        assert "needs a volume, this is a single slice" in json.loads(out)["error"]["text"]
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_failed_task_is_4(
    capsys: pytest.CaptureFixture[str], study: Path, tmp_plugin: TmpPlugin, data_dir: Path, tmp_path: Path
) -> None:
    (data_dir / "plugins").mkdir()
    script = tmp_plugin("tmp_fails", ("ctx.progress(1.0)", "raise ValueError('on purpose')"))
    script.rename(data_dir / "plugins" / script.name)
    words = ["analyze", study / "DICOM", "-o", tmp_path / "out", "--task", "tmp_fails.air", "--json"]
    code, out, err = run(capsys, *words)
    assert code == 4
    assert "on purpose" in json.loads(out)["error"]["text"]
    assert "tmp_fails 0.1.0" in err


def test_run_gives_the_script_its_arguments(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, medviewer\nprint(__name__, sys.argv[1:])\nsys.exit(len(sys.argv))\n")
    code, out, _ = run(capsys, "run", script, "--fast", "3")
    assert (code, out.strip()) == (3, "__main__ ['--fast', '3']")
    script.write_text("from medviewer.api import InputError\nraise InputError('no', hint='try')\n")
    assert run(capsys, "run", script)[0] == 3
    script.write_text("1 / 0\n")
    code, _, err = run(capsys, "run", script)
    assert (code, "ZeroDivisionError" in err) == (1, True)


def test_paths_open_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Sequence[str]] = []
    monkeypatch.setattr(window, "open_window", lambda words: opened.append(list(words)) or 0)
    for words in ([], [str(tmp_path)], ["./info"], ["a.zip", "b.zip"]):
        assert entry.main(words) == 0
    assert opened == [[], [str(tmp_path)], ["./info"], ["a.zip", "b.zip"]]


def test_the_window_refuses_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "no-such-folder")[0] == 3
    assert run(capsys, "--no-such-option")[0] == 2


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "vtkmodules", "PySide6", "SimpleITK", "scipy", "highdicom", "nibabel"]
    code = (
        "import sys\nfrom medviewer.__main__ import main\nmain(['--help'])\n"
        f"found = [m for m in {heavy!r} if m in sys.modules]\nsys.exit(', '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_doctor_passes_here(tmp_path: Path) -> None:
    registry = PluginRegistry()
    registry.discover()
    checks = list(doctor.examine(registry, {"results": tmp_path}, "cpu"))
    answer = doctor.to_json(checks)
    assert answer["ok"], [check for check in checks if check.state == "fail"]
    names = [check.name for check in checks]
    assert {"Versions", "Machine", "Worker", "Computing", "Plugins", "Decoders", "Drawing", "Desktop"} <= set(names)
    json.dumps(answer)


def test_the_doctor_fails_without_tasks_or_with_a_folder_it_cannot_write(tmp_path: Path) -> None:
    worker = doctor.WorkerProcess("test")
    try:
        assert doctor.plugins(PluginRegistry(), worker).state == "fail"
    finally:
        worker.close()
    (tmp_path / "file").write_text("")
    assert doctor.writable("results", tmp_path / "file" / "folder").state == "fail"


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made on Windows")
@pytest.mark.parametrize("name", [b"a\x1b[2Jb.dcm", b"\xff\xfe.dcm", "a\u202eb.dcm".encode()])
def test_D26_G31_a_terminal_gets_no_hostile_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    try:
        with open(path, "wb") as file:
            file.write(b"no dicom")
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    code, _, err = run(capsys, "info", os.fsdecode(path))
    assert code != 0
    assert "E_NOT_DICOM" in err
    assert "\x1b" not in err
    assert "\u202e" not in err
