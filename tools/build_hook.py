"""Puts plugins/ and resources/ into the wheel. An editable install leaves them where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface[Any]):
    """Adds the bundled folders to a standard wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders; `version` is ``standard`` or ``editable``."""
        if version == "standard":
            for name in ("plugins", "resources"):
                build_data["force_include"][str(Path(self.root, name))] = f"medviewer/_bundled/{name}"
