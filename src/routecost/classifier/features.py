"""What the classifier looks at in a prompt: hashed words, hashed characters, and its shape."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Raise it with any change here: a model file fits one revision only.
REVISION: Final = 1

HEAD, TAIL = 2000, 500
BITS: Final = 17
CHARS: Final = (2, 4)

# Scripts without spaces between words give one token a character; digits are one symbol, so that no number is learnt.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_TOKEN: Final = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+|\d+|[^\w\s]")
_DIGIT: Final = re.compile(r"\d")


def excerpt(prompts: pl.Series) -> pl.Series:
    """The parts that are read: all of it, or the first HEAD and the last TAIL characters of a long prompt."""
    text = pl.col("prompt")
    cut = text.str.head(HEAD) + "\n" + text.str.tail(TAIL)
    whole = text.str.len_chars() <= HEAD + TAIL
    return prompts.to_frame("prompt").select(pl.when(whole).then(text).otherwise(cut)).to_series()


def words(text: str) -> list[str]:
    """Lower-case words and pairs of neighbours, and those at the start and end marked as such."""
    found = _TOKEN.findall(_DIGIT.sub("0", text.lower()))
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(found)]
    marks = [f"^{' '.join(found[:n])}" for n in (1, 2, 3)] + [f"${' '.join(found[-n:])}" for n in (1, 2)]
    return found + pairs + (marks if found else [])


def hashers() -> tuple[Any, Any]:
    """Stateless vectorizers of words and of characters: list of n texts -> (n, 2**BITS) sparse float32."""
    from sklearn.feature_extraction.text import HashingVectorizer

    common = {"n_features": 2**BITS, "binary": True, "norm": "l2", "dtype": np.float32}
    return (
        HashingVectorizer(analyzer=words, **common),
        HashingVectorizer(analyzer="char_wb", ngram_range=CHARS, lowercase=True, **common),
    )


def shape(prompts: pl.Series, excerpts: pl.Series) -> NDArray[np.float64]:
    """(n, len(SHAPE)) numbers around 0 to 3: length of the whole prompt; lines, marks and symbols of the excerpt."""
    frame = pl.DataFrame({"prompt": prompts, "excerpt": excerpts})
    return frame.select(**SHAPE).to_numpy()


def _count(regex: str) -> pl.Expr:
    return _log(pl.col("excerpt").str.count_matches(regex))


def _share(regex: str) -> pl.Expr:
    text = pl.col("excerpt")
    return (text.str.count_matches(regex).cast(pl.Float64) / (text.str.len_chars() + 1)).sqrt()


def _has(regex: str) -> pl.Expr:
    return pl.col("excerpt").str.contains(regex).cast(pl.Float64)


def _log(count: pl.Expr) -> pl.Expr:
    # Polars divides by a scalar as a product with its inverse, but not in a frame of one row: the last bit differs.
    return count.cast(pl.Float64).log1p() * (1 / 3)


def _shapes() -> Iterator[tuple[str, pl.Expr]]:
    length = pl.col("prompt").str.len_chars()
    yield "length", _log(length)
    yield "length_squared", _log(length) * _log(length)
    for edge in (1000, 3000, 6000):
        yield f"above_{edge}", (length > edge).cast(pl.Float64)
    yield "lines", _count(r"\n")
    yield "paragraphs", _count(r"\n\s*\n")
    yield "bullets", _count(r"(?m)^\s*(?:[-*•]|\d+[.)])\s")
    yield "questions", _count(r"[?\u{ff1f}]")
    yield "numbers", _count(r"\d+")
    yield "names", _count(r"\p{Ll}\p{Lu}|\w_\w|\w\(\)")
    yield "indents", _count(r"(?m)^(?:    |\t)")
    yield "statements", _count(r"(?m)[;{}]\s*$")
    yield "digits", _share(r"\d")
    yield "symbols", _share(r"[{}\[\]();=<>_#$\\/]")
    yield "punctuation", _share(r"[.,:!?]")
    yield "capitals", _share(r"\p{Lu}")
    yield "not_ascii", _share(r"[^\x00-\x7f]")
    yield "formula", _share(r"[=+*^/%$\\]")
    yield "fence", _has("```")
    yield "ends_in_question", _has(r"[?\u{ff1f}]\s*$")


SHAPE: Final = dict(_shapes())
