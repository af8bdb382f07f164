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
        "from medviewer.plugin_host.paths import bundled\n"
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
