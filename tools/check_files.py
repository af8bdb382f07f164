"""Refuse files that do not belong into the repository: large ones, private keys, text without a clean end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_BYTES = 1_000_000
#: Weights of the models that come with the program.
MODELS, MAX_WEIGHTS = ("resources", "models"), 12_000_000
# In two parts, so that this file does not find itself.
KEY = b"PRIVATE KEY" + b"-----"
BINARY = {".png", ".jpg", ".ico", ".icns", ".zip", ".gz", ".npz", ".dcm", ".safetensors"}


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with one file."""
    weights = path.suffix == ".safetensors" and path.parts[: len(MODELS)] == MODELS
    limit = MAX_WEIGHTS if weights else MAX_BYTES
    if path.stat().st_size > limit:
        yield f"larger than {limit // 1000} kB"
        return
    data = path.read_bytes()
    if KEY in data:
        yield "holds a private key"
    if path.suffix in BINARY or not data:
        return
    if not data.endswith(b"\n") or data.endswith(b"\n\n"):
        yield "must end with one line end"
    if b"\r\n" in data:
        yield "has Windows line ends"


def main(names: Sequence[str]) -> int:
    """Check the files; return 1 when one has a problem."""
    found = [f"{name}: {problem}" for name in names if Path(name).is_file() for problem in problems(Path(name))]
    print("\n".join(found), file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
