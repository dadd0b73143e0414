"""Token counts of texts, for logs that have the text and no usage.

They are those of o200k_base, the tokenizer of OpenAI's models since GPT-4o. Other providers' tokenizers cut
differently, and what a provider adds around a message (roles, tools, images) is in no text: the counts are estimates
with any method.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import polars as pl

# Tokens for each of what _counts counts, in thousandths. Measured (errors in bench/TOKEN_RATIOS.md):
#     python bench/token_ratios.py train.parquet --unseen gold_public.jsonl --write
RATES: Final[dict[str, float]] = {
    "lower": 0.1,
    "upper": 0.215,
    "digits": 1.544,
    "gap": 0.483,
    "space": 0.15,
    "punctuation": 0.588,
    "latin_accented": 0.026,
    "near_accented": 0.135,
    "cyrillic": 0.2,
    "greek": 0.324,
    "han": 0.742,
    "kana": 0.736,
    "hangul": 0.647,
    "arabic": 0.227,
    "hebrew": 0.339,
    "devanagari": 0.233,
    "brahmic": 0.306,
    "thai": 0.409,
    "marks": 1.392,
    "wide_punctuation": 0.938,
    "other": 1.436,
}

# What is counted: most patterns match one character. A gap stands for the word before it, and digits come in groups
# because the tokenizer cuts numbers every three. ASCII that no pattern matches is "lower".
_ASCII_PATTERNS: Final[dict[str, str]] = {
    "upper": "[A-Z]",
    "digits": "[0-9]{1,3}",
    "gap": r"[\t-\r ]+",
    "space": r"[\t-\r ]",
    "punctuation": r"[\x00-\x08\x0e-\x1f!-/:-@\[-`{-\x7f]",
}
# Disjoint, and not ASCII: what none of them matches is "other".
_PATTERNS: Final[dict[str, str]] = {
    "latin_accented": r"[\p{Latin}--\p{ASCII}]",
    "cyrillic": r"\p{Cyrillic}",
    "greek": r"\p{Greek}",
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}ー]",
    "hangul": r"\p{Hangul}",
    "arabic": r"\p{Arabic}",
    "hebrew": r"\p{Hebrew}",
    "devanagari": r"\p{Devanagari}",
    "brahmic": r"[\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}]",
    "thai": r"\p{Thai}",
    "marks": r"\p{Inherited}",
    "wide_punctuation": r"[[\p{P}\p{Z}]&&\p{Common}--\p{ASCII}]",
}
# Diacritics tell that a text is not English, and its plain letters take more tokens: so many for each of them.
_NEAR_LETTERS: Final = 10

# The file that tiktoken looks for, under the SHA-1 of its address.
_RANKS_URL: Final = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
_RANKS_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
# tiktoken panics on a million spaces in a row (its regex engine runs out of stack). A cut costs a token at most.
_PIECE_CHARS: Final = 100_000


class _Tokenizer(Protocol):
    """What we use of tiktoken.Encoding."""

    def encode_ordinary_batch(self, text: list[str], *, num_threads: int = 8) -> Sequence[Sequence[int]]: ...


def count(text: pl.Series) -> pl.Series:
    """Int64 tokens of each text (null for null, 0 for "").

    By the real tokenizer where tiktoken and its ranks are on this machine, else by `estimate`. Nothing is downloaded.
    """
    tokenizer = _tokenizer()
    return estimate(text) if tokenizer is None else _tokens(text, tokenizer)


def method() -> str:
    """How `count` counts, in words."""
    return "characters by script" if _tokenizer() is None else "tiktoken o200k_base"


def estimate(text: pl.Series) -> pl.Series:
    """Int64 tokens of each text by its characters: null for null, 0 for "", else at least 1."""
    texts = text.cast(pl.String)
    # in thousandths: integers, so that no order of summing changes a count
    thousandths = pl.sum_horizontal(pl.col(name) * round(rate * 1000) for name, rate in RATES.items())
    tokens = pl.max_horizontal((thousandths + 500) // 1000, pl.lit(1, pl.Int64))
    known = pl.when(pl.col("text") == "").then(pl.lit(0, pl.Int64)).when(pl.col("text").is_not_null()).then(tokens)
    return _counts(texts).with_columns(text=texts).select(known.alias(text.name)).to_series()


def _counts(texts: pl.Series) -> pl.DataFrame:
    """How often each key of RATES occurs in each text, Int64."""
    text, rest = pl.col("text"), pl.col("rest")
    # Most texts are ASCII. The rest is cut out as a column: as an expression it would be cut again for every pattern.
    frame = texts.alias("text").to_frame().with_columns(rest=text.str.replace_all(r"\p{ASCII}+", ""))
    found = frame.select(
        text.str.len_bytes().alias("bytes"),
        rest.str.len_bytes().alias("rest_bytes"),
        rest.str.len_chars().alias("rest_chars"),
        text.str.count_matches("[0-9]").alias("digit"),
        *(text.str.count_matches(pattern).alias(name) for name, pattern in _ASCII_PATTERNS.items()),
        *(rest.str.count_matches(pattern).alias(name) for name, pattern in _PATTERNS.items()),
    ).cast(pl.Int64)
    # by subtraction: to find the most frequent characters one by one takes as long as all others
    lower = pl.col("bytes") - pl.sum_horizontal("rest_bytes", "upper", "digit", "space", "punctuation")
    return found.with_columns(
        lower=lower,
        near_accented=pl.min_horizontal(lower, pl.col("latin_accented") * _NEAR_LETTERS),
        other=pl.col("rest_chars") - pl.sum_horizontal(*_PATTERNS),
    ).select(*RATES)


def _tokens(text: pl.Series, tokenizer: _Tokenizer) -> pl.Series:
    """Int64 tokens of each text by `tokenizer`."""
    texts = text.cast(pl.String).to_list()
    pieces = [
        (row, whole[begin : begin + _PIECE_CHARS])
        for row, whole in enumerate(texts)
        if whole
        for begin in range(0, len(whole), _PIECE_CHARS)
    ]
    tokens = [None if whole is None else 0 for whole in texts]
    found = tokenizer.encode_ordinary_batch([piece for _, piece in pieces])
    for (row, _), ids in zip(pieces, found, strict=True):
        tokens[row] = (tokens[row] or 0) + len(ids)
    return pl.Series(text.name, tokens, dtype=pl.Int64)


def _tokenizer() -> _Tokenizer | None:
    """OpenAI's o200k_base; None where tiktoken is missing, or would fetch the ranks from the network."""
    ranks = _ranks_file()
    try:
        # a damaged file is one that tiktoken deletes and downloads again
        if ranks is None or hashlib.sha256(ranks.read_bytes()).hexdigest() != _RANKS_SHA256:
            return None
        tiktoken = importlib.import_module("tiktoken")
    except (ImportError, OSError):
        return None
    return cast(_Tokenizer, tiktoken.get_encoding("o200k_base"))


def _ranks_file() -> Path | None:
    """Where tiktoken keeps the ranks; None where its cache is switched off (an empty TIKTOKEN_CACHE_DIR)."""
    elsewhere = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    folder = elsewhere if elsewhere is not None else os.path.join(tempfile.gettempdir(), "data-gym-cache")
    return Path(folder) / hashlib.sha1(_RANKS_URL.encode(), usedforsecurity=False).hexdigest() if folder else None
