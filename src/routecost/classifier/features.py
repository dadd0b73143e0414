"""What the classifier looks at: the request's columns as the kernel reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from routecost.classifier import characters

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK_WEIGHT", "CONTEXT", "REVISION", "Batch", "Named", "batch", "matrix", "single", "terms"]

# Raise it with any change of the features: a model file fits one revision only.
REVISION: Final = 2

CONTEXT: Final[dict[str, pl.DataType]] = {
    "prompt": pl.String(),
    "system": pl.String(),
    "previous_prompt": pl.String(),
    "n_messages": pl.Int64(),
    "input_tokens": pl.Int64(),
    "tools": pl.Boolean(),
}
_TEXTS: Final = ("prompt", "system", "previous_prompt")
_NUMBERS: Final = ("n_messages", "input_tokens", "tools")


# What the blocks of features weigh: the prompt, its edges and numbers, the system prompt, the turn before.
BLOCK_WEIGHT: Final = np.array([1.0, 0.1, 0.3, 0.5])

Texts = tuple[str, str | None, str | None]
Numbers = tuple[int | None, int | None, bool | None]


@dataclass(frozen=True)
class Batch:
    """Requests as addresses: (3, rows) where each text lies and how long it is (-1: null), (3, rows) numbers (-1:
    null). `owners` keeps the memory alive."""

    addresses: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    numbers: NDArray[np.int64]
    owners: tuple[Any, ...]

    def __len__(self) -> int:
        return int(self.addresses.shape[1])

    def slice(self, start: int, stop: int) -> Batch:
        return Batch(
            self.addresses[:, start:stop], self.lengths[:, start:stop], self.numbers[:, start:stop], self.owners
        )


def batch(frame: pl.DataFrame) -> Batch:
    """A frame with columns of CONTEXT (only `prompt` is needed) -> where its texts lie. Nothing is copied."""
    rows = frame.height
    addresses = np.zeros((3, rows), np.uint64)
    lengths = np.full((3, rows), -1, np.int64)
    numbers = np.full((3, rows), -1, np.int64)
    owners: list[Any] = []
    for k, name in enumerate(_TEXTS):
        if name in frame.columns and frame[name].dtype == pl.String and frame[name].null_count() < rows:
            _locate(frame[name], addresses[k], lengths[k], owners)
    for k, name in enumerate(_NUMBERS):
        if name in frame.columns and frame[name].null_count() < rows:
            numbers[k] = frame[name].cast(pl.Int64).fill_null(-1).to_numpy()
    return Batch(addresses, lengths, numbers, tuple(owners))


def _locate(texts: pl.Series, addresses: NDArray[np.uint64], lengths: NDArray[np.int64], owners: list[Any]) -> None:
    from routecost.classifier import kernel

    begin = 0
    for chunk in texts.get_chunks():
        array = chunk.to_arrow(compat_level=pl.CompatLevel.newest())
        validity, views, *data = array.buffers()
        owners.append(array)
        rows = slice(begin, begin + len(array))
        begin += len(array)
        if not len(array):
            continue
        bits = np.empty(0, np.uint8) if validity is None else np.frombuffer(validity, np.uint8)
        where = np.array([0 if b is None else b.address for b in data] or [0], np.uint64)
        kernel.locate(np.uint64(views.address), where, bits, array.offset, addresses[rows], lengths[rows])


def single(texts: Texts, numbers: Numbers) -> Batch:
    """One request: its prompt, system prompt and previous prompt; messages, input tokens, tools."""
    addresses = np.zeros((3, 1), np.uint64)
    lengths = np.full((3, 1), -1, np.int64)
    known = np.array([[-1 if n is None else int(n)] for n in numbers], np.int64)
    owners = []
    for k, text in enumerate(texts):
        if text:
            data = np.frombuffer(_utf8(text), np.uint8)
            owners.append(data)
            addresses[k, 0] = data.__array_interface__["data"][0]
            lengths[k, 0] = len(data)
    return Batch(addresses, lengths, known, tuple(owners))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@dataclass(frozen=True)
class Named:
    """A request's features by name. hashed: name, column and value; shape: name, value and row of the weights."""

    hashed: list[tuple[str, int, float]]
    shape: list[tuple[str, float, int]]
    words: int


def terms(texts: Texts, numbers: Numbers) -> Named:
    """The features of one request, with what each stands for."""
    from routecost.classifier import kernel

    request = single(texts, numbers)
    index = np.zeros(kernel.ACTIVE, np.uint32)
    spans = np.zeros((kernel.ACTIVE, 2), np.int64)
    ends = np.zeros(kernel.BLOCKS, np.int64)
    shape = np.zeros(len(kernel.SHAPE))
    fixed = (request.addresses, request.lengths, request.numbers, *characters.tables())
    words = kernel.trace(*fixed, index, spans, ends, shape)
    edges = kernel.edge_names(words, int(request.lengths[0, 0]), request.numbers[:, 0])
    hashed: list[tuple[str, int, float]] = []
    begin = 0
    sources = (texts[0], "", texts[1], texts[2])
    labels = ("{}", "", "system prompt: {}", "turn before: {}")
    for block, end in enumerate(ends.tolist()):
        data = _utf8(sources[block] or "")
        value = float(BLOCK_WEIGHT[block])
        if block != kernel.EDGES and end > begin:
            value /= (end - begin) ** 0.5
        for k in range(begin, end):
            if block == kernel.EDGES:
                name = edges[k - begin]
            else:
                text = data[spans[k, 0] : spans[k, 1]].decode(errors="replace")
                name = labels[block].format(" ".join(text.lower().split()) or "(line break)")
            hashed.append((name, int(index[k]), value))
        begin = end
    named = [(f"({name.replace('_', ' ')})", float(shape[k]), k) for k, name in enumerate(kernel.SHAPE)]
    return Named(hashed, named, int(words))


def matrix(frame: pl.DataFrame) -> Any:
    """(rows, 2**BITS + len(SHAPE)) sparse float32: what the model is trained on, as the kernel reads it."""
    from scipy import sparse

    from routecost.classifier import kernel

    requests = batch(frame)
    starts = np.zeros(len(requests) + 1, np.int64)
    shapes = np.zeros((len(requests), len(kernel.SHAPE)))
    nothing, none = np.empty(0, np.int32), np.empty(0, np.float32)
    fixed = (requests.addresses, requests.lengths, requests.numbers, *characters.tables(), BLOCK_WEIGHT)
    # the first pass counts
    n = kernel.extract(*fixed, starts, nothing, none, shapes)
    columns, values = np.empty(n, np.int32), np.empty(n, np.float32)
    kernel.extract(*fixed, starts, columns, values, shapes)
    hashed = sparse.csr_matrix((values, columns, starts), shape=(len(requests), 2**kernel.BITS))
    hashed.sum_duplicates()
    return sparse.hstack([hashed, sparse.csr_matrix(shapes.astype(np.float32))]).tocsr()
