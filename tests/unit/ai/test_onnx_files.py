"""However a message is written, the file that a reader would open is the one that is found."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.ai.formats._onnx_files import external_files


def varint(value: int, pad: int = 0) -> bytes:
    """Encode a number; `pad` more bytes than it needs."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    if pad:
        parts[-1] |= 0x80
        parts += [0x80] * (pad - 1) + [0]
    return bytes(parts)


def field(number: int, content: bytes, pad: int = 0) -> bytes:
    return varint(number << 3 | 2) + varint(len(content), pad) + content


KEY = b"location"
#: Ways from the model to a tensor, innermost last.
WAYS = {
    "initializer": (7, 5),
    "sparse": (7, 15, 1),
    "constant": (7, 1, 5, 5),
    "branch": (7, 1, 5, 6, 5),
    "function": (25, 7, 5, 5),
    "default of a function": (25, 11, 5),
    "training": (20, 1, 5),
}


@given(
    name=st.text(min_size=1, max_size=300),
    pad=st.integers(0, 3),
    value_first=st.booleans(),
    decoy=st.booleans(),
    way=st.sampled_from(sorted(WAYS)),
)
def test_M02_the_name_is_found_in_every_order_and_encoding(
    name: str, pad: int, value_first: bool, decoy: bool, way: str
) -> None:
    key, value = field(1, KEY, pad), field(2, name.encode("utf-8", "replace"), pad)
    if decoy:
        value = field(2, b"weights.bin") + value
    message = field(13, value + key if value_first else key + value, pad)
    for number in reversed(WAYS[way]):
        message = field(number, message, pad)
    assert list(external_files(message)) == [name.encode("utf-8", "replace").decode("utf-8")]


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(name, str) for name in external_files(data))


def test_graphs_in_graphs_without_end_are_refused() -> None:
    message = b""
    for _ in range(60):
        message = field(1, field(5, field(6, message)))
    with pytest.raises(ValueError, match="too deep"):
        list(external_files(field(7, message)))
