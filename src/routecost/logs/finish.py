"""From what a dialect's fields say to a request: disjoint tokens, one name a provider, text, estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from routecost.logs import estimate
from routecost.logs.messages import images, speech, words

# Lower-cased names by which logs know a provider, and the one that we use.
_KNOWN_AS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai.chat", "openai.responses", "openai.completion", "text-completion-openai"),
    "anthropic": ("anthropic.messages",),
    "bedrock": ("aws.bedrock", "amazon-bedrock", "amazon bedrock", "aws", "bedrock_converse", "aws-bedrock"),
    "azure": (
        *("azure-openai", "azure.ai.openai", "azure.ai.inference", "az.ai.openai", "az.ai.inference", "azure_openai"),
        *("azure openai", "azure_ai"),
    ),
    "gemini": (
        *("gcp.gemini", "gcp.gen_ai", "google.generative-ai", "google ai studio", "google-ai-studio", "google_genai"),
        "google ai",
    ),
    "vertex": (
        *("vertex_ai", "gcp.vertex_ai", "google.vertex", "google", "google vertex", "google-vertex-ai", "vertex-ai"),
        "google_vertexai",
    ),
    "mistral": ("mistral_ai", "mistralai"),
    "xai": ("x_ai", "x-ai"),
}
PROVIDERS: Final = {alias: name for name, aliases in _KNOWN_AS.items() for alias in aliases}

# What the name of a model says of its maker, where a log has no provider.
_MAKERS: Final = {"openai": r"^(gpt-|o\d|chatgpt|text-embedding-)", "anthropic": r"^claude", "gemini": r"^gemini"}

_READ: Final = pl.col("cache_read_tokens").fill_null(0)
_WRITTEN: Final = pl.col("written_tokens").fill_null(0)
TOKENS: Final = (
    "input_tokens",
    "total_input_tokens",
    "cache_read_tokens",
    "written_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
)
# What a correction did, for a person.
CORRECTIONS: Final = {
    "reasoning_added": "reasoning tokens were logged beside the output and are added to it",
    "cache_added": "cached tokens were logged beside the input and are added to it",
    "cache_inside": "cached tokens were logged inside the input and are taken out of it",
    "part_dropped": "a part was larger than its whole and is left out",
}


def guarded(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Token columns as the logged arithmetic says they count, and how often it said otherwise than the dialect's rule.

    Needs TOKENS. A total that is logged tells whether reasoning is inside the output and cached tokens inside the
    input; a part that is larger than its whole cannot be inside it.
    """
    given, out = pl.coalesce("total_input_tokens", "input_tokens"), pl.col("output_tokens")
    reasoning, total = pl.col("reasoning_tokens").fill_null(0), pl.col("total_tokens")
    cached = _READ + _WRITTEN
    inclusive = pl.col("total_input_tokens").is_not_null()
    plain = total == given + out
    both = (reasoning > 0) & (cached > 0) & (total == given + out + reasoning + cached)
    beside = (reasoning > 0) & (total == given + out + reasoning)
    reasoning_added = ~plain & (beside | (both & inclusive))
    reasoning_added = reasoning_added.fill_null(False) | (reasoning > out).fill_null(False)
    # where both would explain the total alike, one of them is enough
    cache_added = ~plain & (cached > 0) & ((~beside & (total == given + out + cached)) | both) & inclusive
    cache_added = cache_added.fill_null(False) | (inclusive & (cached > given)).fill_null(False)
    cache_inside = (~inclusive & plain & (cached > 0) & (cached <= given)).fill_null(False)
    frame = frame.with_columns(
        _reasoning=reasoning_added,
        _cache=cache_added,
        _inside=cache_inside,
        _part=(pl.col("cache_write_1h_tokens") > _WRITTEN).fill_null(False),
    )
    one_hour = pl.when(~pl.col("_part")).then("cache_write_1h_tokens")
    whole = pl.col("total_input_tokens")
    frame = frame.with_columns(
        output_tokens=pl.when("_reasoning").then(out + reasoning).otherwise(out),
        input_tokens=pl.when("_inside")
        .then(pl.col("input_tokens") - cached)
        .when("_cache")
        .then(whole)
        .when(inclusive)
        .then(whole - cached)
        .otherwise("input_tokens"),
        cache_write_1h_tokens=one_hour,
        cache_write_tokens=pl.col("written_tokens") - one_hour.fill_null(0),
    )
    names = {
        "_reasoning": "reasoning_added",
        "_cache": "cache_added",
        "_inside": "cache_inside",
        "_part": "part_dropped",
    }
    counts = {name: int(frame[column].sum()) for column, name in names.items()}
    return frame.drop(*names, "total_input_tokens", "written_tokens", "total_tokens"), {
        k: n for k, n in counts.items() if n
    }


def named(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Providers by one name each, inferred from the model where a log has none; the model that was asked for where it
    has none that served."""
    have = set(frame.columns)
    asked = pl.col("model_requested") if "model_requested" in have else pl.lit(None, pl.String)
    model = pl.coalesce("model", asked) if "model" in have else asked
    frame = frame.with_columns(model=pl.when(model != "").then(model))
    if "provider" not in columns:
        return frame
    given = pl.col("provider").str.strip_chars().str.to_lowercase() if "provider" in have else pl.lit(None, pl.String)
    inferred: pl.Expr = pl.lit(None, pl.String)
    for maker, pattern in _MAKERS.items():
        inferred = pl.when(pl.col("model").str.contains(pattern)).then(pl.lit(maker)).otherwise(inferred)
    known = given.replace(dict(PROVIDERS))
    return frame.with_columns(provider=pl.coalesce(known, inferred))


def spoken(frame: pl.DataFrame, *, texts: bool = True, all_text: bool = True) -> pl.DataFrame:
    """Text columns from messages, system, tools and response_format, as far as there are any; `said` is all text.

    Without `texts` only what a request needs (tools, images, JSON) is told.
    """
    have = set(frame.columns)
    height = frame.height
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    added: dict[str, pl.Series] = {}
    vision = pl.Series([False]).new_from_index(0, height)
    said = [words(frame[c]) for c in ("system", "prompt", "tools") if c in have and all_text]
    if "messages" in have and not texts:
        vision = images(frame["messages"])
    elif "messages" in have:
        from_messages = speech(frame["messages"], said=all_text)
        vision = from_messages["vision"]
        if all_text:
            said.append(from_messages["said"])
        for column in ("prompt", "previous_prompt", "n_messages"):
            added[column] = from_messages[column]
            if column in have:
                added[column] = frame[column].zip_with(frame[column].is_not_null(), added[column])
        inside = from_messages["system"]
        if "system" in have:
            head = words(frame["system"])
            head = head.set((head == "").fill_null(False), None)
            inside = pl.select(pl.concat_str(head, inside, separator="\n\n", ignore_nulls=True)).to_series()
            inside = inside.set((inside == "").fill_null(False), None)
        added["system"] = inside
    needs = [
        pl.when(present).then(pl.lit(name))
        for name, present in (
            ("json", _present(frame, "response_format") & ~_mentions(frame, "response_format", '"text"')),
            ("tools", _present(frame, "tools")),
            ("vision", pl.lit(vision)),
        )
    ]
    joined = pl.concat_str(*needs, separator=",", ignore_nulls=True)
    added["needs"] = frame.select(pl.when(joined != "").then(joined).alias("needs"))["needs"]
    if "needs" in have:
        added["needs"] = frame["needs"].zip_with(frame["needs"].is_not_null(), added["needs"])
    some = [text for text in said if text.null_count() < height]
    together = pl.select(pl.concat_str(*some, separator="\n", ignore_nulls=True)).to_series() if some else nothing
    if some:
        empty = pl.select(pl.all_horizontal(*(pl.lit(text).is_null() for text in some))).to_series()
        together = together.set(empty, None)
    frame = frame.with_columns(said=together, vision=vision, **added)
    return frame.drop([c for c in ("messages", "tools", "response_format") if c in have])


def _present(frame: pl.DataFrame, column: str) -> pl.Expr:
    if column not in frame.columns:
        return pl.lit(False)
    return (~pl.col(column).str.strip_chars().is_in(["", "[]", "{}", "null"])).fill_null(False)


def _mentions(frame: pl.DataFrame, column: str, word: str) -> pl.Expr:
    return (
        pl.col(column).str.contains(word, literal=True).fill_null(False) if column in frame.columns else pl.lit(False)
    )


# Chat formats wrap a message in three tokens, and begin the answer with three (OpenAI's cookbook, "How to count tokens
# with tiktoken").
_A_MESSAGE: Final = 3


def estimated(frame: pl.DataFrame) -> pl.DataFrame:
    """Token counts that are missing, from text: of requests that were answered, have the text of both sides as far as
    it is needed, and have no image.

    Adds `tokens_estimated`, true where a count is one. Needs `said`, `vision`; `response_text` and `n_messages` if any.
    """
    have = set(frame.columns)
    answered = pl.col("status").fill_null("ok") == "ok" if "status" in have else pl.lit(True)
    can = frame.select((answered & ~pl.col("vision")).alias("can"))["can"]
    lacking = {c: frame[c].is_null() for c in ("input_tokens", "output_tokens")}
    told = {
        c: ~lacking[c]
        | (frame[text].is_not_null() if text in have else pl.Series([False]).new_from_index(0, frame.height))
        for c, text in (("input_tokens", "said"), ("output_tokens", "response_text"))
    }
    # one of the two alone makes no cost
    marks = can & (lacking["input_tokens"] | lacking["output_tokens"]) & told["input_tokens"] & told["output_tokens"]
    counts: dict[str, pl.Series] = {}
    for column, text in (("input_tokens", "said"), ("output_tokens", "response_text")):
        rows = (marks & lacking[column]).arg_true()
        if not len(rows):
            continue
        tokens = estimate.count(frame[text].gather(rows))
        if column == "input_tokens":
            messages = frame["n_messages"].gather(rows).fill_null(1) if "n_messages" in have else 1
            tokens = tokens + messages * _A_MESSAGE + _A_MESSAGE
            cached = frame.select(pl.sum_horizontal("cache_read_tokens", "cache_write_tokens")).to_series()
            tokens = (tokens - cached.gather(rows)).clip(lower_bound=0)
        counts[column] = frame[column].scatter(rows, tokens)
    return frame.with_columns(**counts, tokens_estimated=marks.set(~marks, None))
