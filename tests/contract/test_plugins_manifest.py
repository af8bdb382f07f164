"""Every bundled plugin: its manifest holds, loads, and has a form."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.io.places import bundled
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_task
from medviewer.plugin_host.registry import PluginRegistry


def bundled_registry() -> PluginRegistry:
    registry = PluginRegistry()
    registry.discover([bundled("plugins")])
    return registry


REGISTRY = bundled_registry()


def test_no_bundled_plugin_is_broken() -> None:
    assert {b.name: b.reason for b in REGISTRY.broken} == {}
    assert REGISTRY.tasks


@pytest.mark.parametrize("task_id", [task.id for task in REGISTRY.tasks])
def test_a_bundled_task_loads_and_has_a_form(task_id: str) -> None:
    source = REGISTRY.source(task_id)
    assert run_task.check(NullContext(), source).ok
    specs = run_task.describe(NullContext(), source)
    assert all(spec.doc for spec in specs), "every parameter says in one sentence what it does"
    assert source.info.license != "unknown"


@pytest.mark.parametrize("script", sorted(bundled("plugins").glob("*.py")), ids=lambda path: path.name)
def test_a_one_file_plugin_sees_the_public_surface_only(script: Path) -> None:
    lines = [line.strip() for line in script.read_text(encoding="utf-8").splitlines()]
    seen = [line for line in lines if line.startswith(("from medviewer", "import medviewer"))]
    assert seen
    assert all(line.startswith("from medviewer.api") for line in seen)
