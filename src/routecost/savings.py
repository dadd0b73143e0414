"""What a routing table would have cost: today's cells priced again on the models they would have gone to."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from routecost.prices import COST_KINDS, Book, price_kinds, rates
from routecost.routing import Table, route
from routecost.schema import GROUP_KEY
from routecost.usage.cells import CLASS_KEY

# What a request costs, in the parts that groups scale with: each token kind, and what is paid per request.
PARTS: Final = tuple(kind.removeprefix("cost_") for kind in COST_KINDS)
ANY_PROVIDER: Final = "*"
TODAY: Final = tuple(f"today_{part}" for part in PARTS)
ROUTED: Final = tuple(f"routed_{part}" for part in PARTS)


def today(cells: pl.DataFrame, book: Book, *, as_of: dt.date | None = None) -> pl.DataFrame:
    """Cells with what they cost: `today_<part>`, their sum `today_usd` (null where unpriced), `unpriced` (why) and
    `unpriced_fees`."""
    priced = price_kinds(cells, book, as_of=as_of)
    return priced.rename(dict(zip(COST_KINDS, TODAY, strict=True))).with_columns(
        today_usd=pl.sum_horizontal(TODAY, ignore_nulls=False)
    )


def on_model(
    priced: pl.DataFrame,
    book: Book,
    model: str | None,
    *,
    as_of: dt.date | None = None,
    lengths: Table | None = None,
) -> pl.DataFrame:
    """Cells as if all of them had run on one model (None: as today). lengths: the table whose output ratios hold. See
    `routed` for what is added."""
    return _to(priced, book, pl.lit(model, pl.String), as_of, lengths).with_columns(
        route_reason=pl.lit("all"),
        routed_mode=pl.lit(None, pl.String),
        classifier_usd=pl.lit(0.0),
        speculative_usd=pl.lit(0.0),
        failover_usd=pl.lit(0.0),
    )


def routed(
    priced: pl.DataFrame,
    table: Table,
    book: Book,
    *,
    mode: str | None = None,
    failure_rates: Mapping[str, float] | None = None,
    as_of: dt.date | None = None,
) -> pl.DataFrame:
    """Cells (from `today`) as the table would have routed them.

    Adds routed_model (as the table names it, null: stays), route_reason, to_key (the book's key of the model that
    serves it), moved, `routed_<part>` and their sum `routed_usd` (null where unpriced), and, inside that sum,
    speculative_usd, failover_usd and classifier_usd. A request keeps its token counts (scaled by token ratios, and by
    the table's output ratios), its batch flag, and its service tier where the new model has a price for it.
    """
    sent = route(priced, table, mode=mode, in_catalogue=lambda name: book.resolve(None, name) is not None)
    frame = _to(sent, book, pl.col("routed_model"), as_of, table)
    frame = _with_second_calls(frame, table, book, failure_rates or {}, as_of)
    return _with_classifier(frame, table)


def _to(
    frame: pl.DataFrame, book: Book, target: pl.Expr, as_of: dt.date | None, table: Table | None = None
) -> pl.DataFrame:
    """Cells priced on a target model; those that it already serves stay with their provider."""
    frame = frame.with_columns(routed_model=target)
    frame = _sent_to(frame, book).with_columns(
        to_provider=pl.when(~pl.col("moved")).then("provider"),
        to_model=pl.when("moved").then("routed_model").otherwise("model"),
    )
    return _priced_on(
        frame, book, "to_provider", "to_model", ROUTED, "routed_unpriced", as_of, moved=frame["moved"], table=table
    ).with_columns(routed_usd=pl.sum_horizontal(ROUTED, ignore_nulls=False))


def _sent_to(frame: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Adds to_key, the book's key of the model that serves a row with this routed_model, and whether it moved: a
    target that means the logged model under the logged provider stays there."""
    cases = frame.select("provider", "model", "routed_model").unique()
    keys: list[str | None] = []
    moved: list[bool] = []
    for provider, model, name in cases.iter_rows():
        logged = book.resolve(provider, model)
        there = book.resolve(provider, name) if name is not None else logged
        stays = name in (None, model) or (logged is not None and there is not None and there.key == logged.key)
        ref = logged if stays else book.resolve(None, name)
        keys.append(ref.key if ref else None)
        moved.append(not stays and (ref is None or logged is None or ref.key != logged.key))
    cases = cases.with_columns(pl.Series("to_key", keys, pl.String), pl.Series("moved", moved, pl.Boolean))
    return frame.join(
        cases, on=["provider", "model", "routed_model"], how="left", nulls_equal=True, maintain_order="left"
    )


def _priced_on(
    frame: pl.DataFrame,
    book: Book,
    provider: str,
    model: str,
    names: Sequence[str],
    unpriced: str,
    as_of: dt.date | None,
    *,
    moved: pl.Series,
    table: Table | None = None,
) -> pl.DataFrame:
    """Cost parts on another model, whose answers are as long as the table says. A null model in the log is no reason
    not to price where it would have gone, and a service tier that the new model does not have is left behind by what
    has moved."""
    asked = frame.select(pl.exclude("unpriced", "unpriced_fees")).with_columns(
        problem=pl.when(pl.col("problem") != "no_model").then("problem")
    )
    if table is not None and table.output_ratios:
        longer = _answer_lengths(asked, book, table, model, moved)
        asked = asked.with_columns(pl.col("output_tokens", "reasoning_tokens") * longer)

    def kinds_of(rows: pl.DataFrame) -> pl.DataFrame:
        return price_kinds(
            rows,
            book,
            provider=provider,
            model=model,
            logged=("provider", "model"),
            unpriced=unpriced,
            unpriced_fees="_fees",
            as_of=as_of,
        )

    parts = kinds_of(asked)
    if (parts[unpriced] == "no_tier_price").any():
        again = kinds_of(asked.with_columns(service_tier=pl.lit(None, pl.String)))
        use = (parts[unpriced] == "no_tier_price").fill_null(False) & moved
        parts = parts.with_columns(again[c].zip_with(use, parts[c]).alias(c) for c in (*COST_KINDS, unpriced))
    return frame.with_columns(
        *(parts[kind].alias(name) for kind, name in zip(COST_KINDS, names, strict=True)), parts[unpriced]
    )


def _answer_lengths(frame: pl.DataFrame, book: Book, table: Table, to_model: str, moved: pl.Series) -> pl.Series:
    """How long the answers of the model in `to_model` are against those of the logged one (1 where nothing moves)."""
    named = {ref.key: name for name in table.output_ratios if (ref := book.resolve(None, name)) is not None}

    def ratio(provider: str | None, model: str | None, task: str | None) -> float:
        ref = book.resolve(provider, model)
        return table.output_ratio(named[ref.key], task) if ref is not None and ref.key in named else 1.0

    keys = frame.select("task", "provider", "model", to=to_model, moved=moved)
    cases = keys.unique()
    found = [
        ratio(None, to, task) / ratio(provider, model, task) if moves else 1.0
        for task, provider, model, to, moves in cases.iter_rows()
    ]
    cases = cases.with_columns(pl.Series("longer", found, pl.Float64))
    return keys.join(cases, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")["longer"]


def _with_second_calls(
    frame: pl.DataFrame, table: Table, book: Book, failure_rates: Mapping[str, float], as_of: dt.date | None
) -> pl.DataFrame:
    """Adds what speculative calls and failed-over calls cost to the routed parts."""
    nothing = [pl.lit(0.0).alias("speculative_usd"), pl.lit(0.0).alias("failover_usd")]
    fires = frame["speculative_model"].null_count() < frame.height
    fails = table.failover_rate is not None and bool(table.fallbacks)
    if not fires and not fails:
        return frame.with_columns(nothing)
    first = {model: others[0] for model, others in table.fallbacks.items() if others}
    frame = frame.with_columns(
        second_model=pl.coalesce(
            "speculative_model", pl.col("routed_model").replace_strict(first, default=None, return_dtype=pl.String)
        )
        if first
        else pl.col("speculative_model"),
        second_provider=pl.lit(None, pl.String),
    )
    second = [f"second_{part}" for part in PARTS]
    elsewhere = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    frame = _priced_on(
        frame, book, "second_provider", "second_model", second, "second_unpriced", as_of, moved=elsewhere, table=table
    )
    has_second = pl.col("second_model").is_not_null()
    speculates = pl.col("speculative_model").is_not_null()
    share = pl.when(speculates).then(table.loser_share).otherwise(0.0)
    if table.failover_rate == "from-log":
        provider = pl.col("to_key").str.split("/").list.first()
        known = {ANY_PROVIDER: 0.0, **failure_rates}
        rate: pl.Expr = provider.replace_strict(known, default=known[ANY_PROVIDER], return_dtype=pl.Float64)
    else:
        rate = pl.lit(float(table.failover_rate or 0.0))
    # A failed call is not billed, the fallback's answer is. Where both are fired at once nothing is failed over.
    failing = pl.when(has_second & ~speculates).then(rate).otherwise(0.0) if fails else pl.lit(0.0)
    frame = frame.with_columns(_share=share, _failing=failing.fill_null(0.0))
    second_usd = pl.sum_horizontal(second, ignore_nulls=False)
    spec_usd = pl.when(pl.col("_share") > 0).then(second_usd * pl.col("_share")).otherwise(0.0)
    more_usd = (second_usd - pl.col("routed_usd")) * pl.col("_failing")
    fail_usd = pl.when(pl.col("_failing") > 0).then(more_usd).otherwise(0.0)
    used = (pl.col("_share") > 0) | (pl.col("_failing") > 0)
    return (
        frame.with_columns(speculative_usd=spec_usd, failover_usd=fail_usd)
        .with_columns(
            *(
                pl.when(used)
                .then(pl.col(r) * (1 - pl.col("_failing")) + pl.col(s) * (pl.col("_failing") + pl.col("_share")))
                .otherwise(pl.col(r))
                .alias(r)
                for r, s in zip(ROUTED, second, strict=True)
            ),
            routed_unpriced=pl.when(used)
            .then(pl.coalesce("routed_unpriced", "second_unpriced"))
            .otherwise(pl.col("routed_unpriced")),
        )
        .with_columns(routed_usd=pl.sum_horizontal(ROUTED, ignore_nulls=False))
        .drop("_share", "_failing", *second, "second_unpriced", "second_provider")
    )


def _with_classifier(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Adds the classifier's own cost: for the requests whose task was asked for (not pinned, not overridden, and not
    answered by the gateway's cache, which stands before the router)."""
    cost = table.classifier_cost_per_request_usd
    # a table with routes has to classify what it then leaves where it is, too
    asked = ["route", "default", *(["unrouted"] if table.routes else [])]
    decided = pl.col("route_reason").is_in(asked) & ~pl.col("gateway_cache_hit").fill_null(False)
    fee = pl.when(decided).then(pl.col("requests") * cost).otherwise(0.0)
    return frame.with_columns(classifier_usd=fee).with_columns(
        routed_requests=pl.col("routed_requests") + pl.col("classifier_usd"),
        routed_usd=pl.col("routed_usd") + pl.col("classifier_usd"),
    )


def at_random(
    priced: pl.DataFrame,
    sent: pl.DataFrame,
    book: Book,
    *,
    as_of: dt.date | None = None,
    lengths: Table | None = None,
) -> pl.DataFrame:
    """The control for knowing the task: the shares of requests that `sent` gives to each model, drawn at random.

    Its expected cost exactly, not a simulation: every cell pays the mixture of prices. A request that is drawn for a
    model which has no price for it (a batch, say) stays where it is.
    """
    comparable = sent.filter(pl.col("today_usd").is_not_null() & pl.col("routed_usd").is_not_null())
    total = int(comparable["requests"].sum())
    moved = comparable.filter("moved").group_by("to_model").agg(pl.col("requests").sum()).sort("to_model")
    stay = 1.0 - (int(moved["requests"].sum()) / total if total else 0.0)
    mixed = priced.with_columns(**{r: pl.col(t) * stay for r, t in zip(ROUTED, TODAY, strict=True)})
    for model, n in moved.iter_rows():
        there = on_model(priced, book, model, as_of=as_of, lengths=lengths)
        priced_there = there["routed_usd"].is_not_null()
        mixed = mixed.with_columns(
            mixed[r] + there[r].zip_with(priced_there, priced[t]) * (n / total)
            for r, t in zip(ROUTED, TODAY, strict=True)
        )
    return mixed.with_columns(
        routed_usd=pl.sum_horizontal(ROUTED, ignore_nulls=False),
        routed_model=pl.lit(None, pl.String),
        route_reason=pl.lit("random"),
        moved=pl.lit(False),
        classifier_usd=pl.lit(0.0),
        speculative_usd=pl.lit(0.0),
        failover_usd=pl.lit(0.0),
    )


def comparable(sent: pl.DataFrame) -> pl.DataFrame:
    """The cells that have a price on both sides; a saving is told of these only."""
    return sent.filter(pl.col("today_usd").is_not_null() & pl.col("routed_usd").is_not_null())


def summarise(sent: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Sums by key over comparable cells: requests, today_usd, routed_usd, saving_usd, and the models that serve it.

    routed_to: the model that most of its requests would go to; routed_models: how many different ones.
    """
    cells = comparable(sent)
    sums = (
        cells.group_by(keys, maintain_order=True)
        .agg(
            pl.col("requests", "today_usd", "routed_usd", "classifier_usd", "speculative_usd", "failover_usd").sum(),
            moved_requests=pl.col("requests").filter("moved").sum(),
        )
        .with_columns(saving_usd=pl.col("today_usd") - pl.col("routed_usd"))
    )
    # one model may stand under several names; the table's own name for it is the one to show
    named = pl.coalesce("routed_model", "to_model")
    main = (
        cells.with_columns(_name=named)
        .sort("requests", "_name", descending=[True, False], nulls_last=True)
        .group_by(*keys, "to_key")
        .agg(pl.col("requests").sum(), pl.col("_name").first())
        .sort("requests", "_name", descending=[True, False], nulls_last=True)
        .group_by(keys, maintain_order=True)
        .agg(routed_to=pl.col("_name").first(), routed_models=pl.len().cast(pl.Int64))
    )
    return sums.join(main, on=list(keys), how="left", nulls_equal=True)


def by_group(
    sent: pl.DataFrame, groups: pl.DataFrame, *, pooled_features: bool, by: Sequence[str] = ("task",)
) -> pl.DataFrame:
    """Requests, today_usd and routed_usd of each (*by, group), for intervals. by: of GROUP_KEY.

    The cells' cost a token (by part) inside each coarse key is applied to the groups' tokens, so that the groups' sums
    are the cells' sums; what differs between groups inside a key is their tokens.
    """
    keys = [c for c in GROUP_KEY if c in sent.columns]
    if pooled_features and "feature" in keys:
        keys.remove("feature")
    cells = comparable(sent)
    counts = [part if part not in ("requests", "fees") else "requests" for part in PARTS]
    costs = cells.group_by(keys, maintain_order=True).agg(
        *(pl.col(c).sum() for c in (*TODAY, *ROUTED)), pl.col("requests").sum().alias("comparable")
    )
    # all cells of a key, unpriced ones too: the groups count them as well
    whole = sent.group_by(keys).agg(pl.col(c).sum() for c in dict.fromkeys(counts))
    per = costs.join(whole, on=keys, how="left", nulls_equal=True).select(
        *keys,
        *(
            pl.when(pl.col(count) > 0)
            .then(pl.col(f"{side}_{part}") / pl.col(count))
            .otherwise(0.0)
            .alias(f"{side}_{part}")
            for side in ("today", "routed")
            for part, count in zip(PARTS, counts, strict=True)
        ),
        share=pl.col("comparable") / pl.col("requests"),
    )
    return (
        groups.join(per, on=keys, how="inner", nulls_equal=True, maintain_order="left")
        .with_columns(
            today_usd=pl.sum_horizontal(pl.col(c) * pl.col(f"today_{p}") for p, c in zip(PARTS, counts, strict=True)),
            routed_usd=pl.sum_horizontal(pl.col(c) * pl.col(f"routed_{p}") for p, c in zip(PARTS, counts, strict=True)),
            requests=pl.col("requests") * pl.col("share"),
        )
        .group_by(*by, "group", maintain_order=True)
        .agg(pl.col("requests", "today_usd", "routed_usd").sum())
    )


def cache_loss(
    sent: pl.DataFrame,
    carry: pl.DataFrame,
    table: Table,
    book: Book,
    *,
    mode: str | None = None,
    as_of: dt.date | None = None,
) -> float:
    """The most that routing could lose of the provider's prompt cache, in USD (0 when nothing moves).

    Cached tokens survive only where the previous request of the session went to the same model; all others are priced
    as that model's input, or its cache write where that is dearer. The other bound is that nothing is lost.
    """
    if not comparable(sent)["moved"].any():
        return 0.0
    worth = _cache_worth(sent, book, as_of)
    if worth.height == 0:
        return 0.0
    here = list(CLASS_KEY)
    known = carry.group_by(here).agg(seen=pl.col("cache_read_tokens").sum())
    per_token = worth.join(known, on=here, how="left", nulls_equal=True).with_columns(
        unseen=(pl.col("cache_read_tokens") - pl.col("seen").fill_null(0)).clip(0, None),
        each=pl.col("usd") / pl.col("cache_read_tokens"),
    )
    # without a session nobody knows what came before: all is lost in the worst case
    # exactly rounded sums, as joins and groups come in any order
    loss = math.fsum(per_token["unseen"] * per_token["each"])
    if carry.height == 0:
        return loss
    before = carry.select(pl.col(f"previous_{c}").alias(c) for c in CLASS_KEY)
    before = route(before, table, mode=mode, in_catalogue=lambda name: book.resolve(None, name) is not None)
    previous = _sent_to(before, book)
    followed = carry.with_columns(
        previous["to_key"].alias("previous_to"), previous["moved"].alias("previous_moved")
    ).join(per_token.select(*here, "to_key", "moved", "each"), on=here, how="inner", nulls_equal=True)
    same = (pl.col("previous_to") == pl.col("to_key")).fill_null(False) & ~pl.col("first")
    lost = (pl.col("moved") & ~same) | (~pl.col("moved") & ~pl.col("first") & pl.col("previous_moved") & ~same)
    gone = followed.filter(lost)
    return math.fsum([loss, *(gone["cache_read_tokens"] * gone["each"])])


def _cache_worth(sent: pl.DataFrame, book: Book, as_of: dt.date | None) -> pl.DataFrame:
    """What all cached tokens would cost more without a cache: `usd` and `cache_read_tokens` by CLASS_KEY, to_key and
    moved."""
    cells = comparable(sent).filter((pl.col("cache_read_tokens") > 0) & ~pl.col("gateway_cache_hit").fill_null(False))
    plain = cells.select(pl.exclude("unpriced"))

    def rates_of(asked: pl.DataFrame) -> pl.DataFrame:
        return rates(asked, book, provider="to_provider", model="to_model", logged=("provider", "model"), as_of=as_of)

    # as in `routed`: a service tier that the new model does not have is left behind
    without = (rates_of(plain)["unpriced"] == "no_tier_price").fill_null(False) & plain["moved"]
    rated = rates_of(plain.with_columns(service_tier=pl.when(~without).then("service_tier")))
    again = pl.max_horizontal("rate_input_tokens", "rate_cache_write_tokens") - pl.col("rate_cache_read_tokens")
    return (
        rated.with_columns(usd=pl.col("cache_read_tokens") * again.clip(0.0, None).fill_null(0.0))
        .group_by(*CLASS_KEY, "to_key", "moved", maintain_order=True)
        .agg(pl.col("usd", "cache_read_tokens").sum())
    )


def cache_loss_by_task(
    sent: pl.DataFrame, carry: pl.DataFrame, book: Book, *, as_of: dt.date | None = None
) -> dict[str | None, float]:
    """The most that each task's moved requests could lose of the provider's prompt cache, in USD, whatever the other
    tasks do: a cache survives only where the session's previous request was of the same task (and so went to the same
    model). Unlike `cache_loss` it adds up task by task, which is what choosing task by task needs."""
    worth = _cache_worth(sent, book, as_of).filter("moved")
    if worth.height == 0:
        return {}
    here = list(CLASS_KEY)
    stays = ~pl.col("first") & pl.col("previous_task").eq_missing(pl.col("task"))
    kept = carry.group_by(here).agg(kept=pl.col("cache_read_tokens").filter(stays.fill_null(False)).sum())
    lost = worth.join(kept, on=here, how="left", nulls_equal=True).with_columns(
        lost=pl.col("usd") * (1 - (pl.col("kept").fill_null(0) / pl.col("cache_read_tokens")).clip(0.0, 1.0))
    )
    return dict(lost.group_by("task", maintain_order=True).agg(pl.col("lost").sum()).iter_rows())


def failure_rates(cells: pl.DataFrame, book: Book) -> dict[str, float]:
    """The share of failed calls of each provider (as the book names it) in the log; under ANY_PROVIDER that of all of
    them, for providers that the log does not know."""
    named = cells.select("provider", "model").unique()
    providers = [ref.key.split("/")[0] if (ref := book.resolve(p, m)) else None for p, m in named.iter_rows()]
    named = named.with_columns(pl.Series("_provider", providers, pl.String))
    joined = cells.join(named, on=["provider", "model"], how="left", nulls_equal=True)
    sums = (
        joined.filter(pl.col("_provider").is_not_null())
        .group_by("_provider")
        .agg(n=pl.col("requests").sum(), failed=pl.col("requests").filter(pl.col("status") == "error").sum())
        .sort("_provider")
    )
    rates = {p: failed / n for p, n, failed in sums.iter_rows() if n}
    n, failed = int(sums["n"].sum()), int(sums["failed"].sum())
    return {**rates, ANY_PROVIDER: failed / n} if n else rates
