"""Train a classifier from labelled requests; the shipped one: python -m routecost.classifier.train CORPUS... -o FILE"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from routecost.classifier import evaluate, features
from routecost.classifier.model import FORMAT, MAX_CLASSES, NATURAL_MIX, Classifier, save, version_of
from routecost.confusion import Confusion
from routecost.errors import InputError, RoutecostError
from routecost.schema import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

__all__ = ["MIN_LABELS", "Trained", "read_corpus", "train"]

NAME: Final = "hashed-linear"
MIN_LABELS: Final = 10

# Inverse regularisation; the best is chosen by cross-validation.
STRENGTHS: Final = (3.0, 10.0, 30.0)
# For the bundled corpora: 3, 10 and 100 did worse on held-out prompts.
BUNDLED_STRENGTH: Final = 30.0
SHAPE_SCALE: Final = 0.5
MAX_ITERATIONS: Final = 500

_TYPES: Final = {
    **features.CONTEXT,
    "task": pl.String(),
    "alt": pl.String(),
    "source": pl.String(),
    "weight": pl.Float64(),
}


@dataclass(frozen=True)
class Trained:
    """A classifier and what it said of requests that it had not been shown.

    held_out: `task` (the label), `alt`, `source`, `weight` (to the mix), `given`, `confidence`, `p_<task>`, in the
    order of the labelled rows that were used. accuracy and log_loss are weighted to the mix; a second label counts as
    right in neither.
    """

    classifier: Classifier
    held_out: pl.DataFrame
    accuracy: float
    log_loss: float


def train(
    labelled: pl.DataFrame,
    *,
    classes: Sequence[str] | None = None,
    start: Classifier | None = None,
    mix: Mapping[str, float] | None = None,
    name: str = NAME,
    corpus: str = "",
    folds: int = 5,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Trained:
    """Fit on labelled requests: columns of features.CONTEXT (only `prompt` is needed), `task`, and maybe `alt` (an
    acceptable second label), `source` and `weight`. Rows without a prompt or a label are left out.

    classes: the tasks, in order; by default those that occur. start: a classifier to continue from: its scores are
    features too, so few labels are enough. mix: share of each task in the traffic that probabilities shall be
    calibrated to; by default the weighted mix of the labels.

    Every task counts the same in the fit, and within it a source by the root of its size, so that a large one does not
    become the task. Regularisation, temperature and priors are those that do best on held-out rows: of whole sources
    where there are as many as `folds`. Raises InputError for fewer than MIN_LABELS labels of a task.
    """
    frame = _prepared(labelled)
    names = _classes(frame, classes)
    frame = frame.filter(pl.col("task").is_in(names))
    y = frame["task"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
    x = _matrix(frame, start)
    # what no row has keeps a weight of zero, so it need not be fitted
    used = np.unique(x.indices)
    width, x = x.shape[1], x[:, used]
    given = frame["weight"].to_numpy()
    sources = frame["source"].fill_null("").to_numpy()
    size = frame.select(pl.len().over("source", "task")).to_series().to_numpy().astype(np.float64)
    weight = given * size**-0.5 if frame["source"].null_count() < frame.height else given
    shares = [float(given[y == k].sum()) for k in range(len(names))] if mix is None else [mix[c] for c in names]
    in_fit = _by_class(weight, y, [1.0] * len(names))
    natural = _by_class(weight, y, shares)

    known_alt = pl.when(pl.col("alt").is_in(names)).then("alt").otherwise("task")
    second = frame.select(known_alt.cast(pl.Enum(names)).to_physical()).to_series().to_numpy().astype(np.int64)

    split = _split(y, sources, folds, seed)
    best: tuple[float, float, Floats, float, Floats] | None = None
    for strength in strengths:
        scores = np.zeros((len(y), len(names)))
        for known, unseen in split:
            scores[unseen] = _decision(_fit(x[known], y[known], in_fit[known], strength), x[unseen])
        temperature, prior = _calibrate(scores, y, second, natural)
        loss = _log_loss(scores * temperature + prior, y, second, natural)
        if best is None or loss < best[0]:
            best = (loss, strength, scores * temperature + prior, temperature, prior)
    assert best is not None
    loss, strength, scores, temperature, prior = best
    fitted, intercept = _fit(x, y, in_fit, strength)
    coefficients = np.zeros((width, len(names)))
    coefficients[used] = fitted
    parts = _combined(coefficients * temperature, intercept * temperature + prior, start)
    held_out = _held_out(frame, scores, natural, names)
    source = f"held-out {'sources' if len(set(sources)) >= folds else 'labels'}" + (f" of {corpus}" if corpus else "")
    confusion = _confusion(held_out, names, source)
    right = held_out.select(pl.col("task") == pl.col("given")).to_series().to_numpy()
    accuracy = float(np.average(right, weights=natural))
    metadata = {
        "format": FORMAT,
        "features": features.REVISION,
        "name": name,
        "version": version_of(parts),
        "classes": list(names),
        "corpus": corpus,
        "rows": frame.height,
        "mix": {c: round(s / sum(shares), 4) for c, s in zip(names, shares, strict=True)},
        "held_out_accuracy": round(accuracy, 4),
        "held_out_log_loss": round(loss, 4),
        "inverse_regularisation": strength,
        "start": None if start is None else f"{start.name} {start.version}",
        "confusion": confusion.to_json(),
        "scikit_learn": _scikit_learn(),
    }
    weights, scale, shape, bias = parts
    model = Classifier(name, str(metadata["version"]), names, weights, scale, shape, bias, confusion, metadata)
    return Trained(model, held_out, accuracy, loss)


def _prepared(labelled: pl.DataFrame) -> pl.DataFrame:
    frame = labelled.select(
        (pl.col(c).cast(t, strict=False) if c in labelled.columns else pl.lit(None, t)).alias(c)
        for c, t in _TYPES.items()
    )
    task = pl.col("task").str.strip_chars().str.to_lowercase()
    return frame.with_columns(
        task, pl.col("alt").str.strip_chars().str.to_lowercase(), pl.col("weight").fill_null(1.0)
    ).filter((pl.col("prompt").str.strip_chars() != "") & (pl.col("task") != "") & (pl.col("weight") > 0))


def _classes(frame: pl.DataFrame, classes: Sequence[str] | None) -> tuple[str, ...]:
    counts = dict(frame["task"].value_counts().iter_rows())
    names = tuple(classes) if classes else (*(t for t in TASKS if t in counts), *sorted(set(counts) - set(TASKS)))
    if not 2 <= len(names) <= MAX_CLASSES:
        seen = ", ".join(names) or "none"
        raise InputError(f"a classifier tells 2 to {MAX_CLASSES} tasks apart; saw labels of {len(names)}: {seen}.")
    few = {c: counts.get(c, 0) for c in names if counts.get(c, 0) < MIN_LABELS}
    if few:
        seen = ", ".join(f"{c} has {n}" for c, n in few.items())
        raise InputError(
            f"too few labels: {seen}; every task needs at least {MIN_LABELS}. Label more of them "
            "(`routecost classifier sample` finds them), or give these labels to another task."
        )
    return names


def _matrix(frame: pl.DataFrame, start: Classifier | None) -> Any:
    from scipy import sparse

    from routecost.classifier import kernel

    x = features.matrix(frame).astype(np.float64)
    scaling = np.ones(x.shape[1])
    scaling[2**kernel.BITS :] = SHAPE_SCALE
    x = x @ sparse.diags(scaling)
    return x.tocsr() if start is None else sparse.hstack([x, _scores(x, start)]).tocsr()


def _scores(x: Any, start: Classifier) -> Floats:
    """What a classifier says of rows that are already features (with SHAPE_SCALE), as scores around zero."""
    from routecost.classifier import kernel

    weights = np.vstack([start.weights * start.scale, start.shape / SHAPE_SCALE])
    scores = np.asarray(x[:, : 2**kernel.BITS + len(kernel.SHAPE)] @ weights) + start.bias
    centred: Floats = scores - scores.mean(axis=1, keepdims=True)
    return centred


def _combined(
    coefficients: Floats, intercept: Floats, start: Classifier | None
) -> tuple[NDArray[np.int16], Floats, Floats, Floats]:
    """Weights (int16), scale, shape, bias: scores of another linear model as features are features of one."""
    from routecost.classifier import kernel

    n = 2**kernel.BITS
    end = n + len(kernel.SHAPE)
    hashed, shape = coefficients[:n], coefficients[n:end] * SHAPE_SCALE
    if start is not None:
        mixing = coefficients[end:]
        mixing = mixing - mixing.mean(axis=0)  # as the scores were centred
        hashed = hashed + (start.weights * start.scale) @ mixing
        shape = shape + start.shape @ mixing
        intercept = intercept + start.bias @ mixing
    scale = np.maximum(np.abs(hashed).max(axis=0), 1e-12) / 32767
    return np.round(hashed / scale).astype(np.int16), scale, np.ascontiguousarray(shape), intercept


def _split(y: Labels, sources: NDArray[Any], folds: int, seed: int) -> list[tuple[Labels, Labels]]:
    """Folds of whole sources, or of rows where there are too few sources."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(set(sources)) >= folds:
        return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(y, y, sources))
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y))


def _fit(x: Any, y: Labels, weight: Floats, strength: float) -> tuple[Floats, Floats]:
    """(features, classes) coefficients and (classes,) intercepts; two classes are made symmetric."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS, tol=1e-4).fit(x, y, sample_weight=weight)
    coefficients, intercept = model.coef_.T, model.intercept_
    if coefficients.shape[1] == 1:
        return np.hstack([-coefficients, coefficients]) / 2, np.append(-intercept, intercept) / 2
    return coefficients, intercept


def _decision(fitted: tuple[Floats, Floats], x: Any) -> Floats:
    scores: Floats = np.asarray(x @ fitted[0]) + fitted[1]
    return scores


def _by_class(weight: Floats, y: Labels, total: Sequence[float]) -> Floats:
    """Weights scaled so that those of class k sum to total[k] of all rows."""
    scaled = weight.copy()
    for k, share in enumerate(total):
        scaled[y == k] *= share / sum(total) * len(y) / scaled[y == k].sum()
    return scaled


def _log_loss(scores: Floats, y: Labels, second: Labels, weight: Floats) -> float:
    """Of the label, or of either where a second one is accepted (`second` is `y` where none is)."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    rows = np.arange(len(y))
    right = odds[rows, y] + np.where(second == y, 0.0, odds[rows, second])
    return float(-np.average(np.log(np.maximum(right / odds.sum(axis=1), 1e-300)), weights=weight))


def _calibrate(scores: Floats, y: Labels, second: Labels, weight: Floats) -> tuple[float, Floats]:
    """Factor on the scores and addition per class that give held-out rows the least log loss."""
    from scipy.optimize import minimize

    def loss(p: Floats) -> float:
        return _log_loss(scores * math.exp(p[0]) + np.append(0.0, p[1:]), y, second, weight)

    best = minimize(loss, np.zeros(scores.shape[1]), method="Nelder-Mead", options={"maxiter": 4000})
    return math.exp(best.x[0]), np.append(0.0, best.x[1:])


def _held_out(frame: pl.DataFrame, scores: Floats, weight: Floats, names: tuple[str, ...]) -> pl.DataFrame:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    return frame.select("task", "alt", "source").with_columns(
        weight=pl.Series(weight),
        given=pl.Series(names).gather(scores.argmax(axis=1)),
        confidence=pl.Series(shares.max(axis=1)),
        **{f"p_{c}": pl.Series(shares[:, k]) for k, c in enumerate(names)},
    )


def _confusion(held_out: pl.DataFrame, names: tuple[str, ...], source: str) -> Confusion:
    """Weighted counts, scaled so that a task's row sums to its effective number of prompts; an accepted second label
    is no mistake."""
    given = pl.when(pl.col("given") == pl.col("alt")).then("task").otherwise("given")
    rows = held_out.with_columns(given=given)
    effective = rows.group_by("task").agg(
        factor=pl.col("weight").sum() / (pl.col("weight") ** 2).sum(),
    )
    weights = rows.join(effective, on="task", how="left", maintain_order="left").select(
        pl.col("weight") * pl.col("factor")
    )
    matrix = Confusion.of(names, rows.select("task", "given").rows(), weights.to_series().to_list(), source=source)
    return replace(matrix, counts=tuple(tuple(round(n, 2) for n in row) for row in matrix.counts))


def _scikit_learn() -> str:
    import sklearn

    return str(sklearn.__version__)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m routecost.classifier.train", description="Train the classifier.")
    parser.add_argument("corpus", type=Path, nargs="+", help="JSONL or Parquet: prompt, task (or task_type), source")
    parser.add_argument("-o", "--output", type=Path, required=True, help="classifier file to write")
    parser.add_argument(
        "--measure", type=Path, help="labelled requests that are no part of the corpus: their confusion matrix is kept"
    )
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation over sources (default 5)")
    options = parser.parse_args(argv)
    try:
        labelled = pl.concat([_alike(read_corpus(path)) for path in options.corpus], how="vertical")
        about = " + ".join(path.name for path in options.corpus)
        trained = train(
            labelled, classes=TASKS, mix=NATURAL_MIX, corpus=about, folds=options.folds, strengths=(BUNDLED_STRENGTH,)
        )
        model = trained.classifier if options.measure is None else measured(trained.classifier, options.measure)
        save(model, options.output)
    except RoutecostError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    print(f"{options.output}: {model.name} {model.version}, {options.output.stat().st_size:,} bytes, from {about}")
    print(f"held-out sources, natural mix: accuracy {trained.accuracy:.3f}, log loss {trained.log_loss:.3f}")
    return 0


def measured(model: Classifier, path: Path) -> Classifier:
    """The classifier with its mistakes on labelled requests, which are closer to traffic than its own corpus is."""
    labelled = read_corpus(path)
    given = model.predict(labelled)
    hits = labelled.with_columns(given=given["task"], confidence=given["confidence"])
    found = evaluate.measure(hits, classes=model.classes, source=f"{labelled.height:,} prompts of {path.name}")
    return replace(
        model, confusion=found.confusion, metadata={**model.metadata, "confusion": found.confusion.to_json()}
    )


def _alike(corpus: pl.DataFrame) -> pl.DataFrame:
    """Weights with which every corpus counts the same in the fit, however large it is."""
    return corpus.with_columns(weight=1 / (pl.len().over("source", "task") ** -0.5).sum())


def read_corpus(path: Path) -> pl.DataFrame:
    """Labelled requests of a JSONL or Parquet file, with the columns that `train` takes. Raises InputError."""
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path, infer_schema_length=None)
        if "task" not in frame.columns and "task_type" in frame.columns:
            frame = frame.rename({"task_type": "task"})
        frame.select("prompt", "task")
        return frame.select(
            (pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t)).alias(c) for c, t in _TYPES.items()
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: expected JSONL or Parquet with prompt and task: {error}") from None


if __name__ == "__main__":
    raise SystemExit(main())
