"""The wheel: it holds the plugins and resources, and finds them outside the source tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / str(build.build_wheel(str(folder)))


def test_the_wheel_holds_plugins_and_resources(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("plugins", "resources"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files
        assert {f"medviewer/_bundled/{path.relative_to(ROOT).as_posix()}" for path in files} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "plugins/"))]


def test_the_unpacked_wheel_finds_its_plugins_outside_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import json, medviewer\n"
        "from medviewer.io.places import bundled\n"
        "from medviewer.plugin_host.registry import PluginRegistry\n"
        "registry = PluginRegistry()\n"
        "registry.discover([bundled('plugins')])\n"
        "print(json.dumps([medviewer.__file__, str(bundled('resources')), [t.id for t in registry.tasks]]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    package, resources, tasks = json.loads(done.stdout)
    assert Path(package).is_relative_to(tmp_path)
    assert Path(resources).is_relative_to(tmp_path)
    assert tasks


def test_the_constraints_name_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(d for group in project["optional-dependencies"].values() for d in group)]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    names = {dependency.split(">")[0].split("[")[0].lower().replace("_", "-") for dependency in wanted}
    assert names <= pinned
    assert not [line for line in lines if "+" in line], "a build's local version does not suit every machine"


FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip --version"*) [ -d .venv ] ;;
    *"-m pip install"*) echo "$*" >>pip.log; case "$*" in *"$REFUSED"*) exit 1 ;; esac ;;
    *platform*) echo 3.11.2 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the set-up reads, and a Python and a pip that only note what they are asked."""
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(FAKE_PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)
    (tmp_path / "bin" / "uname").write_text('#!/bin/sh\n[ "$1" = -m ] && echo x86_64 || echo Linux\n')
    (tmp_path / "bin" / "uname").chmod(0o755)
    return tmp_path


def set_up(checkout: Path, *, gpu: bool, refused: str = "nothing") -> tuple[int, list[str], str]:
    smi = checkout / "bin" / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\nexit {0 if gpu else 9}\n")
    smi.chmod(0o755)
    environment = {
        "PATH": f"{checkout / 'bin'}:/usr/bin:/bin",
        "HOME": str(checkout),
        "REFUSED": refused,
        "MEDVIEWER_NO_SYSTEM": "1",
        "MEDVIEWER_TORCH_SOURCE": str(checkout),
    }
    command = ["sh", "tools/setup.sh"]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    log = checkout / "pip.log"
    asked = log.read_text().splitlines() if log.exists() else []
    return done.returncode, [line for line in asked if "torch==" in line], done.stderr


needs_sh = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")


@needs_sh
def test_the_set_up_asks_for_a_cpu_build_and_never_for_another(checkout: Path) -> None:
    code, asked, _ = set_up(checkout, gpu=False)
    assert code == 0
    assert len(asked) == 1
    assert asked[0].endswith("+cpu")
    (checkout / "pip.log").unlink()
    assert set_up(checkout, gpu=False)[:2] == (0, []), "a second run installs nothing"


@needs_sh
def test_without_a_cpu_build_the_set_up_stops_and_says_what_to_do(checkout: Path) -> None:
    code, asked, said = set_up(checkout, gpu=False, refused="+cpu")
    assert code == 1
    assert len(asked) == 1
    assert "MEDVIEWER_TORCH_SOURCE" in said


@needs_sh
def test_with_a_gpu_the_set_up_takes_the_build_for_it(checkout: Path) -> None:
    code, asked, _ = set_up(checkout, gpu=True)
    assert code == 0
    assert "!=" in asked[0]
    assert "+cpu" in asked[0].split("!=")[1]
