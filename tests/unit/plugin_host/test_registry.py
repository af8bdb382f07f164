from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medviewer.core.errors import PluginError
from medviewer.io import places
from medviewer.plugin_host import discovery
from medviewer.plugin_host.registry import PluginRegistry

TmpPlugin = Callable[..., Path]

MANIFEST = """
id = "{id}"
version = "1"
api = 1
[[task]]
id = "{id}.one"
title = "One"
kind = "segmentation"
entry = "{id}:One"
inputs = {{ image = "volume" }}
order = {order}
"""


def package(folder: Path, name: str, order: int = 100) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "plugin.toml").write_text(MANIFEST.format(id=name, order=order), encoding="utf-8")
    return folder / name


def discovered(*folders: Path) -> PluginRegistry:
    registry = PluginRegistry()
    registry.discover(folders)
    return registry


def test_tasks_come_in_the_order_of_their_manifests(tmp_path: Path) -> None:
    package(tmp_path, "aaa", 20)
    package(tmp_path, "bbb", 10)
    registry = discovered(tmp_path)
    assert [task.id for task in registry.tasks] == ["bbb.one", "aaa.one"]
    assert registry.source("aaa.one").folder == tmp_path / "aaa"
    assert registry.broken == ()


def test_nothing_is_imported(tmp_plugin: TmpPlugin) -> None:
    path = tmp_plugin("tmp_loud", ('"""A plugin of the tests."""', 'raise SystemExit("imported")'))
    path.write_text(path.read_text(encoding="utf-8").replace("from __future__ import annotations\n", ""))
    assert [task.id for task in discovered(path.parent).tasks] == ["tmp_loud.air"]
    assert "tmp_loud" not in sys.modules


def test_a_broken_plugin_is_listed_and_the_others_work(tmp_path: Path, tmp_plugin: TmpPlugin) -> None:
    good = tmp_plugin("tmp_good")
    (good.parent / "empty").mkdir()
    (good.parent / "stray.py").write_text("x = 1\n")
    (good.parent / "_private").mkdir()
    registry = discovered(good.parent, tmp_path / "absent")
    assert [task.id for task in registry.tasks] == ["tmp_good.air"]
    assert {b.name: b.reason for b in registry.broken}.keys() == {"empty", "stray"}
    assert all(b.reason for b in registry.broken)


def test_the_first_of_two_with_the_same_id_wins(tmp_path: Path) -> None:
    package(tmp_path / "a", "same")
    package(tmp_path / "b", "same")
    other = package(tmp_path / "b", "other") / "plugin.toml"
    other.write_text(other.read_text().replace('"other.one"', '"same.one"'))
    registry = discovered(tmp_path / "a", tmp_path / "b")
    assert [p.folder for p in registry.plugins] == [tmp_path / "a" / "same"]
    assert [b.name for b in registry.broken] == ["other", "same"]
    assert "already taken" in registry.broken[0].reason
    assert "already there" in registry.broken[1].reason


def test_discovering_again_forgets_what_was(tmp_path: Path) -> None:
    registry = discovered(package(tmp_path, "aaa").parent)
    registry.discover([])
    assert (registry.tasks, registry.plugins, registry.broken) == ((), (), ())


def test_an_unknown_task_names_the_known(tmp_path: Path) -> None:
    registry = discovered(package(tmp_path, "aaa").parent)
    with pytest.raises(PluginError) as caught:
        registry.task("bbb.one")
    assert caught.value.code == "E_UNKNOWN_TASK"
    assert "aaa.one" in caught.value.hint


def test_the_users_folder_is_searched(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "bundled", lambda name: data_dir / "nothing")
    package(data_dir / "plugins", "mine")
    registry = PluginRegistry()
    registry.discover()
    assert "mine.one" in [task.id for task in registry.tasks]


def test_an_installed_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = package(tmp_path, "tmp_installed")
    (home / "__init__.py").write_text('raise SystemExit("imported")')
    (home / "sub").mkdir()
    (home / "sub" / "more.toml").write_text(MANIFEST.format(id="tmp_sub", order=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        importlib.metadata.EntryPoint(name, value, discovery.ENTRY_POINT_GROUP)
        for name, value in [
            ("a", "tmp_installed"),
            ("b", "tmp_installed.sub:more.toml"),
            ("c", "tmp_not_there"),
            ("d", "tmp_installed:none.toml"),
        ]
    ]
    monkeypatch.setattr(discovery, "entry_points", lambda group: entries)
    found = {c.name: c for c in discovery.from_entry_points()}
    assert found["a"].path == home / "plugin.toml"
    assert found["a"].folder == tmp_path
    assert found["b"].path == home / "sub" / "more.toml"
    assert found["c"].problem == "The package tmp_not_there is not installed."
    assert "has no none.toml" in found["d"].problem
    assert "tmp_installed" not in sys.modules


def test_bundled_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (places.bundled("plugins").parent / "medviewer").is_dir()
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert places.bundled("resources") == tmp_path / "resources"
    monkeypatch.delattr(sys, "_MEIPASS")
    monkeypatch.setattr(places, "_PACKAGE", tmp_path)
    (tmp_path / "_bundled" / "plugins").mkdir(parents=True)
    assert places.bundled("plugins") == tmp_path / "_bundled" / "plugins"
    monkeypatch.delenv("MEDVIEWER_DATA_DIR")
    assert places.user_folder().name == "medviewer"
