"""How often a classifier takes one task for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Confusion"]


@dataclass(frozen=True)
class Confusion:
    """counts[true][given]: labelled prompts of task `classes[true]` that were given task `classes[given]`; a fraction
    where prompts are weighted, so that a row's sum is its effective number. source: what it was measured on."""

    classes: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    source: str

    def __post_init__(self) -> None:
        n = len(self.classes)
        if n < 2 or len(set(self.classes)) < n or len(self.counts) != n:
            raise ValueError(f"a confusion matrix of {len(self.counts)} rows for the tasks {', '.join(self.classes)}")
        if any(len(row) != n or not all(0 <= x < float("inf") for x in row) for row in self.counts):
            raise ValueError(f"a confusion matrix needs {n} numbers of 0 or more in each row")

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        pairs: Sequence[tuple[str, str]],
        weights: Sequence[float] | None = None,
        *,
        source: str,
    ) -> Confusion:
        """From (true, given) pairs; pairs of other tasks are left out."""
        at = {name: i for i, name in enumerate(classes)}
        counts = [[0.0] * len(classes) for _ in classes]
        for k, (true, given) in enumerate(pairs):
            if true in at and given in at:
                counts[at[true]][at[given]] += 1.0 if weights is None else float(weights[k])
        return cls(tuple(classes), tuple(tuple(row) for row in counts), source)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Confusion:
        """Raises KeyError, TypeError or ValueError for anything else than what `to_json` gives."""
        rows = tuple(tuple(float(x) for x in row) for row in value["counts"])
        return cls(tuple(str(c) for c in value["classes"]), rows, str(value["source"]))

    def to_json(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "counts": [list(row) for row in self.counts], "source": self.source}

    def rates(self) -> dict[str, dict[str, float | None]]:
        """true -> given -> share of the true task's prompts; None where there was none."""
        found: dict[str, dict[str, float | None]] = {}
        for name, row in zip(self.classes, self.counts, strict=True):
            whole = sum(row)
            found[name] = {c: x / whole if whole else None for c, x in zip(self.classes, row, strict=True)}
        return found
