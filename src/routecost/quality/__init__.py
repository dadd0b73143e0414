"""What is known of how good models are at tasks: the quality table, and where its rows come from."""

from routecost.quality.lengths import output_ratios
from routecost.quality.reports import Results, Scale, Settings, parse_map, parse_scale, read_prompts, read_results
from routecost.quality.results import GRADED, effective, table_of
from routecost.quality.table import COLUMNS, merged, one_each, read_notes, read_quality, write_quality

__all__ = [
    "COLUMNS",
    "GRADED",
    "Results",
    "Scale",
    "Settings",
    "effective",
    "merged",
    "one_each",
    "output_ratios",
    "parse_map",
    "parse_scale",
    "read_notes",
    "read_prompts",
    "read_quality",
    "read_results",
    "table_of",
    "write_quality",
]
