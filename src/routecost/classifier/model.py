"""A classifier: its file, and what it says about requests."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from routecost.classifier import characters, features
from routecost.confusion import Confusion
from routecost.errors import InputError
from routecost.whole import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_CLASSES", "NATURAL_MIX", "Classifier", "Prediction", "Term", "load", "save"]

SHIPPED: Final = "model.npz"
FORMAT: Final = 2
MAX_CLASSES: Final = 12

# The mix of live traffic, which probabilities are calibrated to: about 78 % simple. How the rest divides is assumed.
NATURAL_MIX: Final = {"simple": 0.78, "code": 0.10, "reasoning": 0.07, "complex": 0.05}

_MAX_BYTES: Final = 64_000_000
# Below this a second thread costs more than it brings.
_ROWS_PER_THREAD: Final = 8_192


@dataclass(frozen=True)
class Prediction:
    """task: None where there is no text. probabilities: of each task, 0-1; empty without a task."""

    task: str | None
    confidence: float | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Term:
    """Something in a request that speaks for or against tasks: the text it stands for, and what it adds to the score
    (log odds) of each task."""

    text: str
    weight: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear model over hashed features, read by a compiled kernel. It holds no state between calls, so threads may
    share it.

    weights: (2**kernel.BITS, classes) int16 in units of scale (classes,); shape: (len(kernel.SHAPE), classes); bias:
    (classes,), all log odds at the mix that it was calibrated to. confusion: as measured on sources that training had
    not seen, None where the file has none. metadata: what the file says about its training.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    weights: NDArray[np.int16]
    scale: NDArray[np.float64]
    shape: NDArray[np.float64]
    bias: NDArray[np.float64]
    confusion: Confusion | None
    metadata: Mapping[str, Any]

    def predict(self, requests: pl.DataFrame | pl.Series) -> pl.DataFrame:
        """Requests (columns of features.CONTEXT, only `prompt` is needed; or prompts alone) -> a row each: `task`,
        `confidence` (0-1, the probability of that task), and `p_<task>` for every task.

        Null where the prompt is null, blank or not text. Fails open: requests that cannot be classified are null.
        """
        frame = requests.to_frame("prompt") if isinstance(requests, pl.Series) else requests
        if frame["prompt"].dtype != pl.String:
            return self._unknown(frame.height)
        try:
            best, shares = self.probabilities(frame)
        except Exception:  # fail-open: an unclassified request is counted as such, a lost run is not
            return self._unknown(frame.height)
        found = pl.DataFrame(
            {
                "task": pl.Series(self.classes, dtype=pl.String).gather(np.maximum(best, 0)),
                "confidence": shares.max(axis=0),
                **{f"p_{task}": share for task, share in zip(self.classes, shares, strict=True)},
            }
        )
        known = pl.Series(best >= 0)
        return found if known.all() else found.select(pl.when(known).then(pl.all()))

    def probabilities(self, frame: pl.DataFrame) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(rows,) the class, -1 where there is no text, and (classes, rows) probabilities."""
        requests = features.batch(frame)
        rows = len(requests)
        best = np.empty(rows, np.int32)
        shares = np.zeros((len(self.classes), rows))
        threads = min(os.cpu_count() or 1, rows // _ROWS_PER_THREAD + 1)
        if threads == 1:
            self._score(requests, shares, best)
            return best, shares
        edges = np.linspace(0, rows, threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            futures = [
                pool.submit(self._score, requests.slice(a, b), shares[:, a:b], best[a:b])
                for a, b in itertools.pairwise(edges)
            ]
            for future in futures:
                future.result()
        return best, shares

    def classify(
        self,
        text: str,
        *,
        system: str | None = None,
        previous_prompt: str | None = None,
        n_messages: int | None = None,
        input_tokens: int | None = None,
        tools: bool | None = None,
    ) -> Prediction:
        """One request. Text that is not well-formed Unicode is read with replacement characters."""
        texts = (text, system, previous_prompt)
        requests = features.single(texts, (n_messages, input_tokens, tools))
        best = np.empty(1, np.int32)
        shares = np.zeros((len(self.classes), 1))
        self._score(requests, shares, best)
        if best[0] < 0:
            return Prediction(None, None, {})
        listed = shares[:, 0].tolist()
        return Prediction(self.classes[best[0]], max(listed), dict(zip(self.classes, listed, strict=True)))

    def explain(
        self,
        text: str,
        *,
        system: str | None = None,
        previous_prompt: str | None = None,
        n_messages: int | None = None,
        input_tokens: int | None = None,
        tools: bool | None = None,
    ) -> list[Term]:
        """What the scores of a request are made of, the heaviest first; with the bias they add up to its log odds.

        Terms of the same text (a word, its stem) are one. The shape of the text is a term for each measure.
        """
        texts = (text, system, previous_prompt)
        named = features.terms(texts, (n_messages, input_tokens, tools))
        sums: dict[str, NDArray[np.float64]] = {}
        for name, column, factor in named.hashed:
            sums[name] = sums.get(name, 0.0) + self.weights[column] * self.scale * factor
        for name, value, row in named.shape:
            if value:
                sums[name] = sums.get(name, 0.0) + self.shape[row] * value
        apart = {name: weight - weight.mean() for name, weight in sums.items()}
        order = sorted(apart, key=lambda name: (-float(np.abs(apart[name]).max()), name))
        return [Term(name, dict(zip(self.classes, apart[name].tolist(), strict=True))) for name in order]

    def _score(self, requests: features.Batch, shares: NDArray[np.float64], best: NDArray[np.int32]) -> None:
        from routecost.classifier import kernel

        kernel.score(
            requests.addresses,
            requests.lengths,
            requests.numbers,
            *characters.tables(),
            self.weights,
            self.scale,
            self.shape,
            self.bias,
            features.BLOCK_WEIGHT,
            shares,
            best,
        )

    def _unknown(self, rows: int) -> pl.DataFrame:
        types = {"task": pl.String(), "confidence": pl.Float64(), **{f"p_{c}": pl.Float64() for c in self.classes}}
        return pl.DataFrame({name: pl.Series([None], dtype=t).new_from_index(0, rows) for name, t in types.items()})


def save(model: Classifier, path: Path) -> None:
    """Write a classifier's file: arrays of numbers and a JSON text, nothing that could be executed."""
    text = json.dumps(dict(model.metadata), ensure_ascii=False, sort_keys=True).encode()
    arrays = {
        "metadata": np.frombuffer(text, np.uint8),
        "weights": model.weights,
        "scale": model.scale,
        "shape": model.shape,
        "bias": model.bias,
    }
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def version_of(arrays: Sequence[NDArray[Any]]) -> str:
    """A version from the content: the same weights have the same one, wherever they were trained."""
    return f"{features.REVISION}-{hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest()[:8]}"


def load(path: Path | None = None) -> Classifier:
    """The classifier in a file, the shipped one without a path. Raises InputError for a file that is not one.

    Nothing in the file is executed: it holds arrays of numbers and a JSON text.
    """
    path = path or Path(__file__).with_name(SHIPPED)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"{size:,} bytes unpacked, more than any classifier of ours")
        with np.load(path, allow_pickle=False) as arrays:
            metadata = json.loads(arrays["metadata"].tobytes())
            weights = {name: arrays[name] for name in ("weights", "scale", "shape", "bias")}
        return _classifier(metadata, weights)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a classifier: {error.strerror or error}.") from None
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
            f"{path}: not a classifier of this version ({error}). Expected a file that `routecost classifier train` "
            "wrote; train it again or leave the option out."
        ) from None


def _classifier(metadata: dict[str, Any], weights: dict[str, NDArray[Any]]) -> Classifier:
    from routecost.classifier import kernel

    if (metadata["format"], metadata["features"]) != (FORMAT, features.REVISION):
        seen = f"format {metadata['format']}, features {metadata['features']}"
        raise ValueError(f"{seen}, where format {FORMAT}, features {features.REVISION} is needed")
    classes = tuple(str(name) for name in metadata["classes"])
    n = len(classes)
    if not 2 <= n <= MAX_CLASSES or len(set(classes)) < n or not all(classes):
        raise ValueError(f"tasks {classes}, where 2 to {MAX_CLASSES} different ones are needed")
    expected = {"weights": (2**kernel.BITS, n), "scale": (n,), "shape": (len(kernel.SHAPE), n), "bias": (n,)}
    for name, dimensions in expected.items():
        array = weights[name]
        kind = "i" if name == "weights" else "f"
        if array.shape != dimensions or array.dtype.kind != kind or not np.isfinite(array).all():
            raise ValueError(f"`{name}` is {array.dtype} {array.shape}, not finite numbers {dimensions}")
    confusion = metadata.get("confusion")
    return Classifier(
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        classes=classes,
        weights=np.ascontiguousarray(weights["weights"].astype(np.int16)),
        scale=weights["scale"].astype(np.float64),
        shape=np.ascontiguousarray(weights["shape"].astype(np.float64)),
        bias=weights["bias"].astype(np.float64),
        confusion=None if confusion is None else Confusion.from_json(confusion),
        metadata=metadata,
    )
