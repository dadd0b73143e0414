"""Intervals from groups, changes between two sides, percentiles from histograms, and bounds from graded answers."""

from routecost.stats.change import Ratio, paired_ratio, t_upper, two_sample_ratio
from routecost.stats.grades import Grades, Pairs, difference_bounds, more_answers, paired_bounds, score_bounds
from routecost.stats.intervals import (
    CONFIDENCE,
    Array,
    Interval,
    jackknife_ratio,
    percentile,
    split_interval,
    t_quantile,
)

__all__ = [
    "CONFIDENCE",
    "Array",
    "Grades",
    "Interval",
    "Pairs",
    "Ratio",
    "difference_bounds",
    "jackknife_ratio",
    "more_answers",
    "paired_bounds",
    "paired_ratio",
    "percentile",
    "score_bounds",
    "split_interval",
    "t_quantile",
    "t_upper",
    "two_sample_ratio",
]
