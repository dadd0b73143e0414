"""Token counts of texts that have none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost.logs import estimate as module
from routecost.logs.estimate import RATES, count, estimate, method

# what the rates tell apart, next to any other text
TEXTS = st.text(
    st.one_of(st.sampled_from("aZ09 \n\t.,{é漢あー한яΩعשहবไ\u0301。😀\0"), st.characters(codec="utf-8")), max_size=60
)


def tokens(*texts: str | None) -> list[int | None]:
    return estimate(pl.Series(texts, dtype=pl.String)).to_list()


def test_rates_are_tokens_of_a_character_in_thousandths() -> None:
    assert all(0 < rate < 2 and round(rate, 3) == rate for rate in RATES.values())


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", {}),
        ("a", {"lower": 1}),
        ("\0", {"punctuation": 1}),
        ("Ab c", {"upper": 1, "lower": 2, "gap": 1, "space": 1}),
        ("a \n\t b", {"lower": 2, "gap": 1, "space": 4}),
        ("123", {"digits": 1}),
        ("1234", {"digits": 2}),
        ("x=[1,22];", {"lower": 1, "punctuation": 5, "digits": 2}),
        ("é", {"latin_accented": 1}),
        ("éa", {"latin_accented": 1, "lower": 1, "near_accented": 1}),
        ("é" + 10 * "a", {"latin_accented": 1, "lower": 10, "near_accented": 10}),
        ("é" + 11 * "a", {"latin_accented": 1, "lower": 11, "near_accented": 10}),
        ("e\u0301", {"lower": 1, "marks": 1}),
        ("你好\uff0c世界", {"han": 4, "wide_punctuation": 1}),
        ("サーバー", {"kana": 4}),
        ("한국어", {"hangul": 3}),
        ("да", {"cyrillic": 2}),
        ("φλξ", {"greek": 3}),
        ("نعم", {"arabic": 3}),
        ("כן", {"hebrew": 2}),
        ("हाँ", {"devanagari": 3}),
        ("ஆம்", {"brahmic": 3}),
        ("ใช่", {"thai": 3}),
        ("😀", {"other": 1}),
        ("OK\uff0c好 é", {"upper": 2, "wide_punctuation": 1, "han": 1, "gap": 1, "space": 1, "latin_accented": 1}),
    ],
)
def test_what_is_counted(text: str, counts: dict[str, int]) -> None:
    found = module._counts(pl.Series([text])).row(0, named=True)
    assert found == {**dict.fromkeys(RATES, 0), **counts}
    exact = sum(n * RATES[name] for name, n in counts.items())
    assert tokens(text) == [max(int(exact + 0.5), 1) if text else 0]


def test_null_and_empty() -> None:
    assert tokens("", None, " ", ".") == [0, None, 1, 1]
    assert estimate(pl.Series("prompt", [], dtype=pl.String)).to_frame().schema == {"prompt": pl.Int64}
    # a column in which no request has a text
    assert estimate(pl.Series("prompt", [None, None])).to_list() == [None, None]
    assert count(pl.Series([None, ""], dtype=pl.String)).to_list() == [None, 0]


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Summarise the thread below for a colleague who was away last week, in three sentences.", 19),
        ("def mean(values):\n    total = sum(values)\n    return total / len(values)\n", 17),
        ("请用三句话总结下面的讨论\uff0c并列出还没有解决的问题。", 16),
        ("Объясните, почему второй запрос возвращает повторяющиеся строки.", 14),
        ("Bitte fasse die Rückmeldungen der Kundinnen in zwei Sätzen zusammen.", 15),
    ],
)
def test_near_the_count_of_the_tokenizer(text: str, true: int) -> None:
    assert tokens(text)[0] == pytest.approx(true, rel=0.25)
    real = module._tokenizer()
    if real is not None:
        assert module._tokens(pl.Series([text]), real).to_list() == [true]


@given(TEXTS)
def test_a_text_has_a_token_and_not_more_than_bytes(text: str) -> None:
    [found] = tokens(text)
    assert found is not None
    assert min(len(text), 1) <= found <= 2 * len(text.encode())


@given(TEXTS, TEXTS)
def test_more_text_is_not_fewer_tokens(text: str, more: str) -> None:
    first, both = tokens(text, text + more)
    assert first is not None
    assert both is not None
    assert first <= both


@given(st.lists(st.none() | TEXTS, max_size=8))
def test_neighbours_do_not_change_a_count(texts: list[str | None]) -> None:
    assert tokens(*texts) == [tokens(text)[0] for text in texts]


class Characters:
    """A tokenizer to which every character is a token, and that takes no long texts."""

    def encode_ordinary_batch(self, text: list[str], *, num_threads: int = 8) -> Sequence[Sequence[int]]:
        assert all(0 < len(t) <= module._PIECE_CHARS for t in text)
        return [[0] * len(t) for t in text]


def test_long_texts_go_to_the_tokenizer_in_pieces() -> None:
    n = module._PIECE_CHARS
    texts = pl.Series("prompt", ["ab", None, "", "é" * n, " " * (n + 1), "x" * (3 * n)])
    found = module._tokens(texts, Characters())
    assert found.to_frame().schema == {"prompt": pl.Int64}
    assert found.to_list() == [2, None, 0, n, n + 1, 3 * n]


def test_without_ranks_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["two words"])
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert method() == "characters by script"
    # tiktoken would delete a damaged file, and download it
    ranks = module._ranks_file()
    assert ranks is not None
    ranks.write_bytes(b"IQ== 0\n")
    found, by = count(texts), method()
    assert (found.to_list(), by) == (estimate(texts).to_list(), "characters by script")
    assert ranks.exists()
    # its cache is switched off
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert method() == "characters by script"


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"])
def test_ranks_are_where_tiktoken_looks(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    default = module._ranks_file()
    assert default is not None
    assert default.parent.name == "data-gym-cache"
    monkeypatch.setenv(variable, str(tmp_path))
    assert module._ranks_file() == tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"


def test_without_tiktoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.write_bytes(b"")
    monkeypatch.setattr(module, "_ranks_file", lambda: ranks)
    monkeypatch.setattr(module, "_RANKS_SHA256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert method() == "characters by script"


@pytest.fixture
def tokenizer() -> module._Tokenizer:
    found = module._tokenizer()
    if found is None:
        pytest.skip("tiktoken is not installed, or its cache has no o200k_base")
    return found


@pytest.mark.usefixtures("tokenizer")
def test_tiktoken() -> None:
    found, by = count(pl.Series("prompt", ["hello world", None, "", "<|endoftext|>", " " * 1_000_000])), method()
    assert found.to_frame().schema == {"prompt": pl.Int64}
    assert by == "tiktoken o200k_base"
    # what spells a special token is text
    assert found.to_list()[:4] == [2, None, 0, 7]
    assert found[4] > 0


def test_sum_over_the_training_prompts(root: Path, tokenizer: module._Tokenizer) -> None:
    prompts = pl.read_ndjson(root / "training/prompts.jsonl", infer_schema_length=None)["prompt"]
    assert estimate(prompts).sum() == pytest.approx(module._tokens(prompts, tokenizer).sum(), rel=0.02)
