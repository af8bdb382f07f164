"""S01, S02, S03 and S22: no file that is read is run, whatever it is called."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.core.errors import MedViewerError
from medviewer.io.dicom_scan import scan
from medviewer.io.workspace_file import read_workspace
from medviewer.jobs.job import NullContext
from tests.conftest import ROOT

CTX = NullContext()

#: Calls that run, or may run, what they are given; a name ends with one of them.
RUNS_CODE = (
    "torch.load", "pickle.load", "pickle.loads", "cPickle.load", "dill.load", "joblib.load", "shelve.open",
    "marshal.loads", "marshal.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen",
    "logging.config.fileConfig", "runpy.run_path", "ast.compile", "pandas.read_pickle", "scipy.io.loadmat",
)  # fmt: skip
BUILTINS = ("eval", "exec", "compile", "__import__")


def sources() -> Iterator[Path]:
    for folder in ("medviewer", "plugins", "tools"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def dangers(tree: ast.Module) -> Iterator[str]:
    """Yield calls that run what they read, under whatever name a module was imported."""
    renamed = {
        alias.asname or alias.name: f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = name_of(node.func).partition(".")
        name = ".".join(part for part in (renamed.get(first, first), rest) if part)
        if name in BUILTINS or any(name == danger or name.endswith(f".{danger}") for danger in RUNS_CODE):
            yield name
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if (keyword.arg, value) in (("allow_pickle", True), ("weights_only", False), ("shell", True)):
                yield f"{name}({keyword.arg}={value})"


def test_S01_S02_S03_S22_nothing_in_the_tree_runs_what_it_reads():
    found = {
        path.relative_to(ROOT).as_posix(): calls
        for path in sources()
        if (calls := list(dangers(ast.parse(path.read_text(encoding="utf-8")))))
    }
    # A script that the user names on the command line; checkpoints, read as numbers only.
    assert found == {"medviewer/cli/commands.py": ["runpy.run_path"], "medviewer/ai/torch_file.py": ["torch.load"]}


def test_S01_S02_the_one_reader_of_checkpoints_reads_numbers_only():
    tree = ast.parse((ROOT / "medviewer/ai/torch_file.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and name_of(node.func) == "torch.load"]
    assert len(calls) == 1
    assert [ast.literal_eval(k.value) for k in calls[0].keywords if k.arg == "weights_only"] == [True]


@pytest.mark.parametrize("code", [
    "import torch as t\nt.load(p)", "from pickle import loads\nloads(b)", "eval(text)", "import yaml\nyaml.load(t)",
    "import numpy as np\nnp.load(p, allow_pickle=True)", "import subprocess\nsubprocess.run(c, shell=True)",
    "from torch import load as read\nread(p, weights_only=False)",
])  # fmt: skip
def test_S22_the_lint_sees_what_it_looks_for(code):
    assert list(dangers(ast.parse(code)))


def test_S22_pickles_of_our_own_know_no_foreign_class():
    """Messages between our processes are pickles over an authenticated pipe; no other module reads any."""
    users = [p.name for p in sources() if "import pickle" in p.read_text(encoding="utf-8")]
    assert users == ["torch_file.py", "shared_array.py"], "the first names an error of that module, and calls nothing"


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.canary),))


SUFFIXES = [".npy", ".npz", ".pkl", ".pt", ".pth", ".joblib", ".dcm", ".nii", ".nii.gz", ".nrrd", ".mha", ".mgz",
            ".hdr", ".mvw", ".zip", ".yaml", ".json", ".ckpt", ".safetensors"]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["pickle", "npy", "npz"])
def test_S22_pickled_payloads_are_never_loaded(tmp_path, kind, suffix):
    canary = tmp_path / "canary"
    path = tmp_path / f"payload{suffix}"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(canary)))
    else:
        with path.open("wb") as file:
            objects = np.array([Payload(canary)], dtype=object)
            np.save(file, objects, allow_pickle=True) if kind == "npy" else np.savez(file, objects)
    for read in (lambda: scan(CTX, [path]), lambda: scan(CTX, [tmp_path]), lambda: read_workspace(path)):
        with suppress(MedViewerError):
            read()
    assert not canary.exists()
