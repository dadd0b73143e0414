"""The task type of a prompt, from the prompt alone."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from routecost.classifier import features
from routecost.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Classifier", "load"]

SHIPPED: Final = "model.npz"
FORMAT: Final = 1
PREDICTION: Final = {"task": pl.String(), "confidence": pl.Float64()}

# The hashed features of a batch lie in memory at once: about 100 kB for a long prompt.
_BATCH: Final = 500
_MAX_BYTES: Final = 64_000_000


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear model over hashed features. It holds no state between calls, so threads may share it.

    words, chars: (2**BITS, classes) float32; shape: (len(SHAPE), classes) float64; bias: (classes,) float64.
    confusion: share of a task's prompts given each task, from prompts of sources that training had not seen; `None`
    where the file has none. metadata: what the file says about its training.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    words: NDArray[np.float32]
    chars: NDArray[np.float32]
    shape: NDArray[np.float64]
    bias: NDArray[np.float64]
    confusion: Mapping[str, Mapping[str, float]] | None
    metadata: Mapping[str, Any]
    hashers: tuple[Any, Any]

    def predict(self, prompts: pl.Series) -> pl.DataFrame:
        """Prompts -> `task` and `confidence` (0-1, the probability of that task), a row each.

        Null where the prompt is null, blank or not text. Fails open: a batch that cannot be classified is null.
        """
        unknown = _unknown(len(prompts))
        if prompts.dtype != pl.String:
            return unknown
        rows = (prompts.str.strip_chars() != "").fill_null(False).arg_true()
        if rows.is_empty():
            return unknown
        texts = prompts.gather(rows)
        parts = [self._batch(texts.slice(start, _BATCH)) for start in range(0, len(texts), _BATCH)]
        found = pl.concat(parts)
        return unknown.with_columns(unknown[name].scatter(rows, found[name]) for name in PREDICTION)

    def probabilities(self, texts: pl.Series) -> NDArray[np.float64]:
        """(n, classes) probabilities of n > 0 texts without nulls."""
        excerpts = features.excerpt(texts)
        listed = excerpts.to_list()
        by_word, by_char = self.hashers
        scores = by_word.transform(listed) @ self.words + by_char.transform(listed) @ self.chars + self.bias
        # One column at a time: a matrix product may round a row differently in another batch.
        for column, weights in zip(features.shape(texts, excerpts).T, self.shape, strict=True):
            scores += column[:, None] * weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return shares

    def _batch(self, texts: pl.Series) -> pl.DataFrame:
        try:
            shares = self.probabilities(texts)
        except Exception:  # fail-open: an unclassified request is counted as such, a lost run is not
            return _unknown(len(texts))
        best = shares.argmax(axis=1)
        tasks = pl.Series("task", self.classes, pl.String).gather(best)
        return pl.DataFrame({"task": tasks, "confidence": shares.max(axis=1)}, schema=PREDICTION)


def load(path: Path | None = None) -> Classifier:
    """The classifier in a model file, the shipped one without a path. Raises InputError for a file that is not one.

    Nothing in the file is executed: it holds arrays of numbers and a JSON text.
    """
    path = path or Path(__file__).with_name(SHIPPED)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"{size:,} bytes unpacked, more than any model of ours")
        with np.load(path, allow_pickle=False) as arrays:
            metadata = json.loads(arrays["metadata"].tobytes())
            weights = {name: arrays[name] for name in ("words", "chars", "scales", "shape", "bias")}
        return _classifier(metadata, weights)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a classifier model: {error.strerror or error}.") from None
    except (
        AttributeError,
        EOFError,
        KeyError,
        MemoryError,
        NotImplementedError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"{path}: not a classifier model of this version ({error}). Expected a file that "
            "`python -m routecost.classifier.train` wrote; train it again or leave the option out."
        ) from None


def _classifier(metadata: dict[str, Any], weights: dict[str, NDArray[Any]]) -> Classifier:
    if (metadata["format"], metadata["features"]) != (FORMAT, features.REVISION):
        seen = f"format {metadata['format']}, features {metadata['features']}"
        raise ValueError(f"{seen}, where format {FORMAT}, features {features.REVISION} is needed")
    classes = tuple(str(name) for name in metadata["classes"])
    n = len(classes)
    hashed = (2**features.BITS, n)
    expected = {"words": hashed, "chars": hashed, "scales": (2, n), "shape": (len(features.SHAPE), n), "bias": (n,)}
    for name, dimensions in expected.items():
        array = weights[name]
        if array.shape != dimensions or array.dtype.kind not in "if" or not np.isfinite(array).all():
            raise ValueError(f"`{name}` is {array.dtype} {array.shape}, not finite numbers {dimensions}")
    if n < 2 or len(set(classes)) < n:
        raise ValueError(f"classes {classes}, where at least two different ones are needed")
    return Classifier(
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        classes=classes,
        words=(weights["words"] * weights["scales"][0]).astype(np.float32),
        chars=(weights["chars"] * weights["scales"][1]).astype(np.float32),
        shape=weights["shape"].astype(np.float64),
        bias=weights["bias"].astype(np.float64),
        confusion=metadata.get("confusion"),
        metadata=metadata,
        hashers=features.hashers(),
    )


def _unknown(n: int) -> pl.DataFrame:
    nothing = {name: pl.Series([None], dtype=dtype).new_from_index(0, n) for name, dtype in PREDICTION.items()}
    return pl.DataFrame(nothing)
