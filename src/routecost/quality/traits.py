"""What a request's text is made of: its template, and whether it says the same as another."""

from __future__ import annotations

from typing import Final

import polars as pl

# What differs between two uses of one template: addresses, what stands in quotes, and words with a digit in them
# (numbers, dates, ids).
_VARYING: Final = (
    r"(?:https?://|www\.)\S+|[^\s@]+@[^\s@]+\.\w+"
    r"|\"[^\"\n]{1,400}\"|`[^`\n]{1,400}`|“[^”\n]{1,400}”|«[^»\n]{1,400}»|„[^“”\n]{1,400}[“”]"
    r"|[\p{L}\p{N}_#.,:/-]*\p{N}[\p{L}\p{N}_%.,:/-]*"
)
# After a space or bracket only: an apostrophe is no quotation mark.
_QUOTED: Final = r"(^|[\s(\[=:,])'[^'\n]{1,400}'"
_MASK: Final = "\u00a7"
_SEED: Final = 41
# Texts are alike when so many of LANES samples of their words agree: likely from about five words in six on.
LANES: Final = 8
AGREE: Final = 6
# Shorter or longer ones must be the same word for word: another word among six is another question, and two questions
# about one pasted text share most of it.
_LEAST_WORDS: Final = 8
_MOST_BYTES: Final = 400
# ... and for the same reason what is alike begins and ends with the same words, and has the same numbers.
_AT_THE_ENDS: Final = 3


def template(system: pl.Expr, prompt: pl.Expr) -> pl.Expr:
    """Hash (u64) of system and prompt without what varies between two uses of one template; null without a prompt."""
    text = pl.concat_str(system.fill_null(""), pl.lit("\x1e"), prompt)
    masked = text.str.replace_all(_QUOTED, "${1}" + _MASK).str.replace_all(_VARYING, _MASK)
    spaced = masked.str.replace_all(r"\s+", " ")
    return pl.when(prompt.is_not_null()).then(spaced.hash(_SEED))


def plain(text: pl.Expr) -> pl.Expr:
    """A text without case, punctuation and the number of spaces."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def same(text: pl.Expr) -> pl.Expr:
    """Hash (u64) of a plain text: equal for texts that say the same word for word."""
    return pl.when(text != "").then(text.hash(_SEED))


def frame(text: pl.Expr) -> pl.Expr:
    """Hash (u64) of how a plain text begins and ends, and of its words with a digit: equal for texts that are alike."""
    words = text.str.split(" ")
    parts = (words.list.head(_AT_THE_ENDS), words.list.tail(_AT_THE_ENDS), text.str.extract_all(r"\w*\p{N}\w*"))
    return pl.when(text != "").then(pl.concat_str([p.list.join(" ") for p in parts], separator="\x1e").hash(_SEED))


def sketch(text: pl.Expr) -> list[pl.Expr]:
    """LANES samples (u16) of a plain text's words; two texts agree in each with the share of words that they have in
    common. (Broder, On the resemblance and containment of documents, 1997.) Null where only `same` tells."""
    words = text.str.split(" ").list.unique()
    fits = (text.str.len_bytes() <= _MOST_BYTES) & (words.list.len() >= _LEAST_WORDS)
    return [
        pl.when(fits)
        .then((words.list.eval(pl.element().hash(_SEED + lane)).list.min() & 0xFFFF).cast(pl.UInt16))
        .alias(f"lane_{lane}")
        for lane in range(LANES)
    ]
