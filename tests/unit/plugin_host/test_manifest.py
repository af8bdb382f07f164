from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.core.errors import PluginError
from medviewer.plugin_host.manifest import read_manifest

GOOD = """
id = "demo"
version = "1.2.0"
api = 1
title = "Demo"

[[task]]
id = "demo.air"
title = "Air"
kind = "segmentation"
entry = "demo.task:Air"
inputs = { image = "volume" }
modalities = ["ct"]
min_size = [64, 64, 16]
min_extent_mm = [100, 100.5, 50]
auto = true
seconds_per_megavoxel = 0.2
order = 10

[[task]]
id = "demo.match"
title = "Match"
kind = "registration"
entry = "demo.task:Match"
inputs = { fixed = "volume", moving = "volume" }
"""


def write(folder: Path, text: str, name: str = "plugin.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_becomes_values(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    assert (manifest.id, manifest.version, manifest.api, manifest.title) == ("demo", "1.2.0", 1, "Demo")
    air, match = manifest.tasks
    assert air.modalities == frozenset({"CT"})
    assert air.min_size == (64, 64, 16)
    assert air.min_extent_mm == (100.0, 100.5, 50.0)
    assert (air.auto, air.order, air.seconds_per_megavoxel) == (True, 10, 0.2)
    assert (air.plugin, air.plugin_version) == ("demo", "1.2.0")
    assert match.inputs == {"fixed": "volume", "moving": "volume"}
    assert match.lane == "gpu"
    assert not air.pictures
    assert read_manifest(write(tmp_path, GOOD.replace("auto = true", "pictures = true"))).tasks[0].pictures
    assert manifest.folder == tmp_path


def test_a_task_may_run_by_itself_for_some_modalities_and_be_made_for_some_contrasts(tmp_path: Path) -> None:
    text = GOOD.replace("auto = true", 'auto = ["mr"]\ncontrasts = ["flair"]')
    air = read_manifest(write(tmp_path, text)).tasks[0]
    assert (air.auto, air.contrasts) == ({"MR"}, {"FLAIR"})


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('id = "demo"', "", "`id` is missing"),
        ('id = "demo"', 'id = "demo plugin"', "`id` must be letters"),
        ('version = "1.2.0"', "version = 1.2", "`version` must be a text"),
        ("api = 1", "", "`api`"),
        ("api = 1", "api = true", "`api`"),
        ('title = "Demo"', 'colour = "red"', "unknown key `colour`"),
        ('kind = "segmentation"', 'kind = "magic"', "task 1: `kind` must be one of"),
        ('entry = "demo.task:Air"', 'entry = "demo.task.Air"', "'module:Class'"),
        ('inputs = { image = "volume" }', "inputs = {}", "at least one input"),
        ('inputs = { image = "volume" }', 'inputs = { image = "mesh" }', "input `image`"),
        ('modalities = ["ct"]', 'modalities = "ct"', "list of texts"),
        ("min_size = [64, 64, 16]", "min_size = [64, 64]", "three whole numbers"),
        ("min_size = [64, 64, 16]", "min_size = [64, 64, 1.5]", "three whole numbers"),
        ("min_extent_mm = [100, 100.5, 50]", "min_extent_mm = [100, -1, 50]", "none negative"),
        ("auto = true", 'auto = "yes"', "true or false"),
        ("auto = true", "pictures = 1", "true or false"),
        ("order = 10", "order = 1.5", "whole number"),
        ("seconds_per_megavoxel = 0.2", "seconds_per_megavoxel = -1", "not negative"),
        ("order = 10", 'lane = "fast"', "`lane` must be one of"),
        ("order = 10", "sequence = 10", "unknown key `sequence`"),
        ('id = "demo.match"', 'id = "demo.air"', "same `id`"),
        ("[[task]]", "[[task]", "not valid TOML"),
    ],
)
def test_a_bad_manifest_is_refused_by_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(PluginError) as caught:
        read_manifest(write(tmp_path, GOOD.replace(old, new, 1)))
    assert named in caught.value.text
    assert caught.value.code == "E_MANIFEST"


def test_another_api_is_refused_even_when_its_schema_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        read_manifest(write(tmp_path, 'api = 2\nnovelty = "x"'))
    assert caught.value.code == "E_PLUGIN_API"


@pytest.mark.parametrize("tasks", ["", "task = []", 'task = "x"'])
def test_a_manifest_needs_tasks(tmp_path: Path, tasks: str) -> None:
    with pytest.raises(PluginError, match="task"):
        read_manifest(write(tmp_path, f'id = "a"\nversion = "1"\napi = 1\n{tasks}'))


def test_a_script_carries_its_manifest(tmp_plugin: object, tmp_path: Path) -> None:
    assert callable(tmp_plugin)
    path = tmp_plugin("tmp_air")
    (task,) = read_manifest(path).tasks
    assert (task.id, task.entry, task.lane) == ("tmp_air.air", "tmp_air:Air", "cpu")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_manifest(path).tasks == (task,)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("print('hello')\n", "0 'script' blocks"),
        ("# /// script\n# dependencies = []\n# ///\n", "no table [tool.medviewer]"),
        ("# /// script\n# [tool]\n# medviewer = 3\n# ///\n", "no table [tool.medviewer]"),
        ("# /// script\n# a = 1\n# ///\nx = 1\n# /// script\n# b = 1\n# ///\n", "2 'script' blocks"),
    ],
)
def test_a_script_without_a_manifest_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(PluginError) as caught:
        read_manifest(write(tmp_path, text, "script.py"))
    assert named in caught.value.text


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plugin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PluginError, match="UTF-8"):
        read_manifest(tmp_path / "plugin.toml")
    (tmp_path / "plugin.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(PluginError, match="1 MB"):
        read_manifest(tmp_path / "plugin.toml")
    with pytest.raises(PluginError, match="cannot be read"):
        read_manifest(tmp_path / "none.toml")
