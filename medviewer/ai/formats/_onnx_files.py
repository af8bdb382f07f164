"""Which other files an ONNX model takes numbers from, found by walking its messages.

References
----------
onnx.proto, ``TensorProto.external_data``. Protocol Buffers, wire format.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Field number to message, for every way that leads to a tensor.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEEPEST = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_files(data: bytes) -> Iterator[str]:
    """Yield the names of files outside the model that its tensors lie in; raises ValueError for what is no model."""
    yield from _walk(memoryview(data), "model", 0)


def _walk(data: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("its graphs lie too deep in one another")
    for number, value in _fields(data):
        kind = _MESSAGES[message].get(number)
        if kind is None or value is None:
            continue
        if kind != "entry":
            yield from _walk(value, kind, depth + 1)
            continue
        # Where a field comes twice, readers take the last one.
        entry = {field: bytes(part) for field, part in _fields(value) if part is not None}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode("utf-8", "replace")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield field numbers, with the bytes of those that have a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
            yield tag >> 3, None
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
            yield tag >> 3, None
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("it is cut short")
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError("it is not an ONNX model")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for n in range(10):
        if at + n >= len(data):
            break
        byte = data[at + n]
        value |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            return value, at + n + 1
    raise ValueError("it is cut short")
