"""Old manifests to the present one, step by step: ``MIGRATIONS[n]`` makes version n + 1 from version n.

A version is never changed after its release: a change of the manifest is a new version with a function here and a file
of the old version among the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medviewer.core.errors import WorkspaceError

Manifest = dict[str, Any]

#: The version `workspace_file` writes.
VERSION = 4


def _assessments(manifest: Manifest) -> Manifest:
    """Version 1 did not keep what models say of a whole image."""
    for volume in manifest["volumes"]:
        volume["assessments"] = []
    return manifest


def _terms(manifest: Manifest) -> Manifest:
    """Version 2 knew category and type of a segment only, no instances, and and only whether outlines are drawn."""
    for volume in manifest["volumes"]:
        for segment in volume["segments"]:
            segment |= {"type_modifier": None, "region": None, "region_modifier": None, "instance": 0}
    view = manifest["view"]
    style = "both" if view.pop("outline") else "fill"
    view["look"] = {"style": style, "width": 1, "only_active": False, "neighbors": False}
    return manifest


def _tilt(manifest: Manifest) -> Manifest:
    """Version 3 knew no planes but those of the grid."""
    manifest["view"]["tilt"] = None
    return manifest


MIGRATIONS: Mapping[int, Callable[[Manifest], Manifest]] = {1: _assessments, 2: _terms, 3: _tilt}


def migrate(
    manifest: Manifest,
    version: int = VERSION,
    migrations: Mapping[int, Callable[[Manifest], Manifest]] = MIGRATIONS,
) -> Manifest:
    """Return the manifest in the present version.

    Raises
    ------
    WorkspaceError
        When a newer version wrote it, or it has no version.
    """
    found = manifest.get("version")
    if not isinstance(found, int) or found < 1:
        raise WorkspaceError("This file is no saved workspace.", hint="Choose a file with the ending .mvw.")
    if found > version:
        raise WorkspaceError(
            "This workspace was saved by a newer version of MedViewer.",
            hint="Open it with that version.",
            code="E_NEWER",
        )
    while found < version:
        manifest = migrations[found](manifest)
        found += 1
        manifest["version"] = found
    return manifest
