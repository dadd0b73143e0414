"""How the classifier reads characters: python -m routecost.classifier.characters writes the tables anew.

The tables are a file, because Python versions differ in their Unicode: a model means the same on each of them.
"""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DIGIT", "IGNORED", "LETTER", "MARK", "NEWLINE", "SINGLE", "SPACE", "build", "tables"]

FILE: Final = Path(__file__).with_name("characters.npz")
SIZE: Final = 65536
_CODES: Final = np.arange(SIZE, dtype=np.uint16)

# Kinds. SINGLE: a character of a script without spaces between words, a word of its own. MARK: punctuation, symbols.
SPACE, LETTER, DIGIT, SINGLE, MARK, NEWLINE, IGNORED = range(7)

_SINGLE_RANGES: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # Chinese characters
    (0xAC00, 0xD7A3),  # Hangul syllables
    (0xF900, 0xFAFF),
)
_NEWLINES: Final = "\n\r\v\f\x85\u2028\u2029"
# Typographic variants that NFKD keeps apart from what people type.
_ALIKE: Final = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "-", 0x3002: ".", 0x3001: ","}


@functools.cache
def tables() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """(65536,) kind of each character of the basic plane, and (65536,) the character it is read as: lower case,
    without accents, compatibility forms as their plain ones, digits as 0."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return arrays["kind"], _CODES - arrays["shift"]


def build() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """The tables from the Unicode data of the running Python."""
    kind = np.zeros(SIZE, np.uint8)
    read_as = _CODES.copy()
    for code in range(SIZE):
        kind[code], read_as[code] = _entry(code)
    return kind, read_as


def _entry(code: int) -> tuple[int, int]:
    character = chr(code)
    if 0xD800 <= code < 0xE000:
        return MARK, 0xFFFD
    single = any(low <= code <= high for low, high in _SINGLE_RANGES)
    plain = character if single else _ALIKE.get(code) or _plain(character)
    category = unicodedata.category(character)
    if character in _NEWLINES:
        return NEWLINE, code
    if category in ("Zs", "Zl", "Zp") or character == "\t":
        return SPACE, code
    if 0x300 <= code <= 0x36F or 0xFE00 <= code <= 0xFE0F or category in ("Cc", "Cf"):
        return IGNORED, code
    if single:
        return SINGLE, code
    if category[0] == "N":
        return DIGIT, ord("0")
    if category[0] == "M" or unicodedata.category(plain)[0] == "L":
        return LETTER, ord(plain)
    return MARK, ord(plain)


def _plain(character: str) -> str:
    base = unicodedata.normalize("NFKD", character)[0].lower()[0]
    return base if ord(base) < SIZE else character


if __name__ == "__main__":
    kinds, plain = build()
    # most characters are read as themselves, so differences are small to keep
    np.savez_compressed(FILE, kind=kinds, shift=_CODES - plain)
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes, Unicode {unicodedata.unidata_version}")
