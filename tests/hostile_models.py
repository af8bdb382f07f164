"""Models that would run something if they were read the usual way, and models that are broken. Nothing here is run."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.model_makers import bundle_config, nnunet_plans, write_bundle, write_nnunet


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Builds:
    """Pickles as a call with a state."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (collections.OrderedDict, (), {"x": Calls(os.mkdir, self.canary)})


def raw(code: bytes) -> bytes:
    return b"\x80\x02" + code + b"."


def as_checkpoint(pickled: bytes) -> bytes:
    """Return a checkpoint with a pickle of one's own."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return target.getvalue()


def saved(value: Any) -> bytes:
    target = io.BytesIO()
    torch.save(value, target)
    return target.getvalue()


def nested(canary: str) -> bytes:
    inner = saved({"network_weights": Calls(os.mkdir, canary)})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"network_weights": {"w": 1}}, 2))
        archive.writestr("archive/data/inner.zip", inner)
    return target.getvalue()


def legacy_tar(canary: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Calls(os.mkdir, canary), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def script_archive(canary: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(Calls(os.mkdir, canary), 2))
        archive.writestr("m/constants.pkl", pickle.dumps(Calls(os.mkdir, canary), 2))
        archive.writestr("m/code/__torch__.py", f"torch.from_file('{canary}', True, 4)\n")
    return target.getvalue()


def packed(canary: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Calls(os.mkdir, canary), 2))
    return target.getvalue()


def pickles(canary: Path) -> dict[str, bytes]:
    """Return twelve checkpoints that would make `canary` when unpickled."""
    path = str(canary)
    good = {"network_weights": {"w": torch.zeros(2)}}
    command = f"mkdir '{path}'"
    return {
        "os.system": saved({"network_weights": Calls(os.system, command)}),
        "eval": saved({"network_weights": Calls(builtins.eval, f"__import__('os').mkdir({path!r})")}),
        "getattr chain": saved({"network_weights": Calls(getattr, Calls(__import__, "os"), "mkdir")}),
        "optimizer state": saved({**good, "optimizer_state": {"state": {0: Calls(os.mkdir, path)}}}),
        "numpy scalar": saved({**good, "_best_ema": Calls(os.mkdir, path)}),
        "build": saved({**good, "logging": Builds(path)}),
        "global": as_checkpoint(raw(b"cos\nmkdir\nX" + struct.pack("<I", len(path)) + path.encode() + b"\x85R")),
        "inst": as_checkpoint(raw(b"(X" + struct.pack("<I", len(path)) + path.encode() + b"ios\nmkdir\n")),
        "nested zip": nested(path),
        "legacy pickle": pickle.dumps(Calls(os.mkdir, path), 2),
        "legacy tar": legacy_tar(path),
        "TorchScript archive": script_archive(path),
        "packed pickle": packed(path),
    }


def write_with_checkpoint(folder: Path, data: bytes) -> Path:
    """Write an nnU-Net folder with a checkpoint of one's own."""
    root = write_nnunet(folder)
    (root / "fold_0" / "checkpoint_final.pth").write_bytes(data)
    return root


def configs(canary: Path) -> dict[str, Callable[[Path], Path]]:
    """Return ten models whose configuration would make `canary`; each is written into a folder."""
    call = f"__import__('os').mkdir({str(canary)!r})"

    def bundle(**changes: Any) -> Callable[[Path], Path]:
        return lambda folder: write_bundle(folder / "made", **changes)

    def network(**changes: Any) -> Callable[[Path], Path]:
        return bundle(network_def={**bundle_config()["network_def"], **changes})

    def logging(folder: Path) -> Path:
        root = write_bundle(folder / "made")
        text = f"[handlers]\nkeys=h\n[handler_h]\nclass=StreamHandler\nargs=({call},)\n"
        (root / "configs" / "logging.conf").write_text(text, encoding="utf-8")
        return root

    def plans(folder: Path) -> Path:
        network = {"network_class_name": "os.mkdir", "arch_kwargs": {"path": str(canary)}, "_kw_requires_import": []}
        root = write_nnunet(folder)
        import json

        (root / "plans.json").write_text(json.dumps(nnunet_plans(architecture=network)), encoding="utf-8")
        return root

    return {
        "expression in the network": network(in_channels=f"${call}"),
        "expression in a part that is not used": bundle(datalist=f"${call}"),
        "imports": bundle(imports=[f"${call}"]),
        "foreign class": bundle(network_def={"_target_": "os.mkdir", "path": str(canary)}),
        "foreign class in a part that is not used": bundle(handlers=[{"_target_": "os.system", "command": "true"}]),
        "disabled by an expression": network(_disabled_=f"${call}"),
        "requires": network(_requires_=[f"${call}"]),
        "mode": network(_mode_="debug"),
        "other file": bundle(network_def="%/etc/passwd#network"),
        "logging": logging,
        "plans": plans,
    }


def headers() -> dict[str, bytes]:
    """Return four safetensors files whose header lies."""

    def file(header: bytes, data: bytes = b"", size: int | None = None) -> bytes:
        return struct.pack("<Q", len(header) if size is None else size) + header + data

    return {
        "header of 100 MB": file(b"{}", size=100 * 2**20),
        "header larger than any file": file(b"{}", size=2**63),
        "overlapping offsets": file(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
            bytes(12),
        ),
        "offset beyond the end": file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[1000000,1000008]}}', bytes(8)),
    }
