"""Distances between two mixes and between two histograms of lengths."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from routecost.stats import Array

# Histograms of usage have buckets that grow by 2 %.
STEP: Final = math.log(1.02)


def stability_index(base: Any, current: Any) -> float:
    """The population stability index of two rows of counts: the sum of (q - p) log(q / p). Half a request is added to
    each category, as one that is missing on a side would make it infinite."""
    p, q = (_smooth(np.asarray(side, dtype=np.float64)) for side in (base, current))
    return float(((q - p) * np.log(q / p)).sum())


def _smooth(counts: Array) -> Array:
    added = counts + 0.5
    found: Array = added / added.sum()
    return found


def effect_size(base: Any, current: Any) -> float:
    """Cohen's w of two rows of counts: the root of the sum of (q - p)^2 / p over categories of the base. 0.1 is small,
    0.3 medium, 0.5 large (Cohen 1988, ch. 7)."""
    p, q = (_smooth(np.asarray(side, dtype=np.float64)) for side in (base, current))
    return math.sqrt(float(((q - p) ** 2 / p).sum()))


def aligned(base: dict[int, int], current: dict[int, int]) -> tuple[Array, Array]:
    """Two histograms (bucket -> n) as counts over the same run of buckets. Bucket numbers far below (values of 0) take
    the place just under the lowest."""
    real = [b for b in (*base, *current) if b > -32_768]
    if not real:
        return np.array([float(sum(base.values()))]), np.array([float(sum(current.values()))])
    low = min(real) - 1
    sides = np.zeros((2, max(real) - low + 1))
    for side, counts in enumerate((base, current)):
        for bucket, n in counts.items():
            sides[side, max(bucket, low) - low] += n
    return sides[0], sides[1]


def distribution_distance(base: Array, current: Array) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the distribution functions."""
    return float(np.abs(_function(base) - _function(current)).max())


def transport_distance(base: Array, current: Array) -> float:
    """Wasserstein's on logarithms: by how much, on average over the quantiles, one side is longer."""
    return float(np.abs(_function(base) - _function(current)).sum()) * STEP


def transport_spread(base: Array, current: Array) -> float:
    """What `transport_distance` of n requests to their source is at most, in standard deviations, times root n: the
    integral of the root of F (1 - F)."""
    f = _function(base + current)
    return float(np.sqrt(f * (1 - f)).sum()) * STEP


def _function(counts: Array) -> Array:
    found: Array = np.cumsum(counts) / max(float(counts.sum()), 1.0)
    return np.minimum(found, 1.0)
