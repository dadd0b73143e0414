"""Train the classifier: python -m routecost.classifier.train --corpus PATH -o FILE"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from routecost import schema
from routecost.classifier import FORMAT, features
from routecost.errors import InputError, RoutecostError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Trained", "train", "write"]

NAME: Final = "hashed-linear"
COLUMNS: Final = ("prompt", "task_type", "source")

# The mix of live traffic, which probabilities are calibrated to: about 78 % simple. How the rest divides is assumed.
NATURAL_MIX: Final = {"simple": 0.78, "code": 0.10, "reasoning": 0.07, "complex": 0.05}

# Chosen by cross-validation that leaves whole sources out.
INVERSE_REGULARISATION: Final = 10.0
SHAPE_SCALE: Final = 0.5
MAX_ITERATIONS: Final = 1000


@dataclass(frozen=True)
class Trained:
    """A model before it is written. Weights are (features, classes); accuracy and log loss are cross-validated over
    sources and weighted to the natural mix; confusion[true][given] is a share of the true task."""

    classes: tuple[str, ...]
    words: NDArray[np.float64]
    chars: NDArray[np.float64]
    shape: NDArray[np.float64]
    bias: NDArray[np.float64]
    accuracy: float
    log_loss: float
    confusion: dict[str, dict[str, float]]
    rows: int


def train(corpus: pl.DataFrame, *, folds: int = 5, seed: int = 0) -> Trained:
    """Fit on prompts (columns `prompt`, `task_type`, `source`), calibrated on sources that the fit had not seen.

    Every class counts the same in the fit, and within it a source by the root of its size, so that a large template
    does not become the class. Temperature and priors then come from the held-out folds at the natural mix.
    """
    from scipy import sparse
    from sklearn.model_selection import StratifiedGroupKFold

    corpus = corpus.filter(pl.col("task_type").is_in(schema.TASKS) & pl.col("prompt").is_not_null())
    if corpus["task_type"].n_unique() < len(schema.TASKS) or corpus["source"].n_unique() < folds:
        raise InputError(f"the corpus needs all of {', '.join(schema.TASKS)} and at least {folds} sources.")
    labels = corpus["task_type"].cast(pl.Enum(schema.TASKS)).to_physical().to_numpy().astype(np.int64)
    texts = features.excerpt(corpus["prompt"])
    hashed = [hasher.transform(texts.to_list()) for hasher in features.hashers()]
    shapes = features.shape(corpus["prompt"], texts).astype(np.float32) * np.float32(SHAPE_SCALE)
    x = sparse.hstack([*hashed, sparse.csr_matrix(shapes)]).tocsr()
    size = corpus.select(pl.len().over("source", "task_type")).to_series().to_numpy().astype(np.float64)
    weight = _by_class(size**-0.5, labels, [1.0] * len(schema.TASKS))

    held_out = np.zeros((corpus.height, len(schema.TASKS)))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for known, unseen in split.split(x, labels, corpus["source"].to_numpy()):
        held_out[unseen] = _fit(x[known], labels[known], weight[known]).decision_function(x[unseen])
    natural = _by_class(size**-0.5, labels, [NATURAL_MIX[task] for task in schema.TASKS])
    temperature, prior = _calibrate(held_out, labels, natural)
    scores = held_out * temperature + prior
    given = scores.argmax(axis=1)

    model = _fit(x, labels, weight)
    coefficients = model.coef_.T * temperature
    n = 2**features.BITS
    return Trained(
        classes=schema.TASKS,
        words=coefficients[:n],
        chars=coefficients[n : 2 * n],
        shape=coefficients[2 * n :] * SHAPE_SCALE,
        bias=model.intercept_ * temperature + prior,
        accuracy=float(np.average(given == labels, weights=natural)),
        log_loss=_log_loss(scores, labels, natural),
        confusion=_confusion(labels, given, natural),
        rows=corpus.height,
    )


def write(trained: Trained, path: Path, *, corpus: str) -> str:
    """Write the model with int8 weights; returns its version, a hash of the weights."""
    import sklearn

    packed: dict[str, Any] = {"shape": trained.shape.astype(np.float32), "bias": trained.bias.astype(np.float32)}
    scales = []
    for name, weights in (("words", trained.words), ("chars", trained.chars)):
        scale = np.abs(weights).max(axis=0) / 127
        scales.append(scale)
        packed[name] = np.round(weights / scale).astype(np.int8)
    packed["scales"] = np.array(scales, dtype=np.float32)
    content = hashlib.sha256(b"".join(packed[name].tobytes() for name in sorted(packed)))
    version = f"{features.REVISION}-{content.hexdigest()[:8]}"
    metadata = {
        "format": FORMAT,
        "features": features.REVISION,
        "name": NAME,
        "version": version,
        "classes": list(trained.classes),
        "corpus": corpus,
        "rows": trained.rows,
        "natural_mix": NATURAL_MIX,
        "held_out_accuracy": round(trained.accuracy, 4),
        "held_out_log_loss": round(trained.log_loss, 4),
        "confusion": {true: {k: round(v, 4) for k, v in row.items()} for true, row in trained.confusion.items()},
        "scikit_learn": sklearn.__version__,
    }
    text = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, metadata=text, **packed)
    return version


def _fit(x: Any, labels: NDArray[Any], weight: NDArray[Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS, tol=1e-4)
    return model.fit(x, labels, sample_weight=weight)


def _by_class(weight: NDArray[np.float64], labels: NDArray[Any], total: list[float]) -> NDArray[np.float64]:
    """Weights scaled so that those of class k sum to total[k] of all rows."""
    scaled = weight.copy()
    for k, share in enumerate(total):
        scaled[labels == k] *= share / sum(total) * len(labels) / scaled[labels == k].sum()
    return scaled


def _log_loss(scores: NDArray[np.float64], labels: NDArray[Any], weight: NDArray[np.float64]) -> float:
    scores = scores - scores.max(axis=1, keepdims=True)
    of_label = scores[np.arange(len(labels)), labels] - np.log(np.exp(scores).sum(axis=1))
    return float(-np.average(of_label, weights=weight))


def _calibrate(
    scores: NDArray[np.float64], labels: NDArray[Any], weight: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Factor on the scores and addition per class that give held-out rows the least log loss."""
    from scipy.optimize import minimize

    def loss(p: NDArray[np.float64]) -> float:
        return _log_loss(scores * np.exp(p[0]) + np.append(0.0, p[1:]), labels, weight)

    best = minimize(loss, np.zeros(scores.shape[1]), method="Nelder-Mead", options={"maxiter": 4000})
    return float(np.exp(best.x[0])), np.append(0.0, best.x[1:])


def _confusion(labels: NDArray[Any], given: NDArray[Any], weight: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    return {
        true: {
            task: float(weight[(labels == i) & (given == j)].sum() / weight[labels == i].sum())
            for j, task in enumerate(schema.TASKS)
        }
        for i, true in enumerate(schema.TASKS)
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m routecost.classifier.train", description="Train the classifier.")
    parser.add_argument("--corpus", type=Path, required=True, help=f"Parquet file with {', '.join(COLUMNS)}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model file to write (.npz)")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation over sources (default 5)")
    options = parser.parse_args(argv)
    try:
        corpus = _read(options.corpus)
        trained = train(corpus, folds=options.folds)
        about = f"{options.corpus.name}: {trained.rows} prompts of {corpus['source'].n_unique()} sources"
        version = write(trained, options.output, corpus=about)
    except RoutecostError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    print(f"{options.output}: {NAME} {version}, {options.output.stat().st_size:,} bytes, from {about}")
    print(f"held-out sources, natural mix: accuracy {trained.accuracy:.3f}, log loss {trained.log_loss:.3f}")
    return 0


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: expected a Parquet file with {', '.join(COLUMNS)}: {error}") from None


if __name__ == "__main__":
    raise SystemExit(main())
