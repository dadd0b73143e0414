"""A baseline and a current log to a verdict: the composition behind `routecost check` and `routecost diff`."""

from __future__ import annotations

import datetime as dt
import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from routecost import savings, stats
from routecost.errors import InputError
from routecost.gate.decompose import decompose
from routecost.gate.result import Baseline, Change, Check, Outcome, Part, Rule, Verdict
from routecost.gate.rules import DAYS, Budget, Increase, Policy
from routecost.pipeline.analysis import (
    Coverage,
    coverage_of,
    nothing,
    period_of,
    rebased,
    require_valid,
    saving_of,
    task_order,
)
from routecost.pipeline.baseline import comparable_settings
from routecost.pipeline.intake import Intake, require_prices
from routecost.pipeline.staleness import Staleness
from routecost.prices import Book
from routecost.routing import Table
from routecost.schema import INPUT_KINDS
from routecost.stats import Interval
from routecost.usage import Usage

EXIT: Final[Mapping[Verdict, int]] = {"pass": 0, "fail": 1, "undecided": 4}
# Names that a message lists, of however many there are.
MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Measured:
    """One side, priced on one day: its cells, what has a price, and cost and requests by group."""

    usage: Usage
    priced: pl.DataFrame
    coverage: Coverage
    by_task: pl.DataFrame
    by_feature: pl.DataFrame | None

    @property
    def usd(self) -> float:
        return float(self.priced["today_usd"].sum())

    @property
    def requests(self) -> int:
        return int(self.priced.filter(pl.col("today_usd").is_not_null())["requests"].sum())

    def summary(self) -> dict[str, float]:
        return {
            "requests": float(self.coverage.requests),
            "billable": float(self.coverage.billable),
            "priced": float(self.coverage.priced),
            "cost_usd": self.usd,
        }


def measure(usage: Usage, book: Book, day: dt.date) -> Measured:
    """A side with every request priced as of `day`, so that a price which changed between the sides changes nothing."""
    require_prices(usage, book, ())
    priced = _priced(usage, book, day)
    groups = {}
    apart = usage.settings.group_features
    sent = priced.with_columns(**{r: pl.col(t) for r, t in zip(savings.ROUTED, savings.TODAY, strict=True)})
    sent = sent.with_columns(routed_usd=pl.col("today_usd"))
    for by in ("task", "feature"):
        if by == "task" or apart:
            groups[by] = savings.by_group(sent, usage.groups, pooled_features=not apart, by=(by,))
    return Measured(usage, priced, coverage_of(priced, book), groups["task"], groups.get("feature"))


def _priced(usage: Usage, book: Book, day: dt.date | None) -> pl.DataFrame:
    """The cells priced as of one day (None: each on its own day)."""
    cells = usage.cells
    # a request without a day keeps none: prices by the time of day stay unknown for it
    dated = cells if day is None else cells.with_columns(day=pl.when(pl.col("day").is_not_null()).then(pl.lit(day)))
    priced = savings.today(dated, book, as_of=day)
    keys = cells.select("provider", "model").unique()
    named = [ref.key if (ref := book.resolve(p, m)) is not None else m for p, m in keys.iter_rows()]
    return priced.join(
        keys.with_columns(pl.Series("key", named, pl.String)),
        on=["provider", "model"], how="left", nulls_equal=True, maintain_order="left",
    )  # fmt: skip


def check(
    base: Intake,
    current: Intake,
    book: Book,
    policy: Policy,
    *,
    baseline: Baseline,
    name: str,
    table: Table | None = None,
    base_model: str | None = None,
    stale: Staleness | None = None,
    live_prices: bool = False,
    paired: pl.DataFrame | None = None,
    as_of: dt.date | None = None,
    notes: Sequence[str] = (),
) -> Check:
    """Every rule of the policy, the verdict, and why the cost changed. table, base_model: for min_saving; stale: of the
    table that must not be. paired: requests that stand on both sides (pipeline.pairs). See Check."""
    for intake in (base, current):
        if intake.usage.cells.height == 0:
            raise nothing(intake)
    day = price_day(base.usage, as_of)
    before, after = measure(base.usage, book, day), measure(current.usage, book, day)
    tests = _tests(policy, before, after)
    tested = sum(len(names) for _, names in tests)
    level = policy.alpha / max(tested + len(policy.budgets) + (policy.total is not None) + _saves(policy), 1)
    changes = [_change("all", None, before, after, level, paired)]
    changes += [_change("task", t, before, after, level, paired) for t in _names(before, after, "task")]
    if before.by_feature is not None and after.by_feature is not None:
        changes += [_change("feature", f, before, after, level, paired) for f in _names(before, after, "feature")]
    at = {(c.scope, c.name): c for c in changes}
    outcomes = [judge(rule, one, at.get((rule.scope, one)), policy) for rule, names in tests for one in names]
    if policy.total is not None:
        outcomes.append(_total(policy.total, changes[0], policy))
    outcomes += [_budget(b, after, policy, level) for b in policy.budgets]
    if _saves(policy):
        assert table is not None
        outcomes.append(_saving(after, book, table, base_model, policy, level, as_of or day))
    outcomes += _facts(policy, before, after, stale)
    verdict: Verdict = "pass"
    if any(o.verdict == "fail" for o in outcomes):
        verdict = "fail"
    elif any(o.verdict == "undecided" for o in outcomes):
        verdict = "undecided"
    taken = policy.on_undecided if verdict == "undecided" else verdict
    why = decompose(_parts(before.priced), _parts(after.priced))
    if live_prices:
        why = replace(why, live_prices=_live(base.usage, current.usage, before, after, book))
    return Check(
        verdict=verdict,
        exit_code=EXIT[taken],
        outcomes=tuple(outcomes),
        changes=tuple(changes),
        why=why,
        baseline=baseline,
        current=name,
        priced_on=day,
        book_version=book.version,
        alpha=policy.alpha,
        detect=policy.detect,
        sides={"base": before.summary(), "current": after.summary()},
        on_undecided=policy.on_undecided,
        notes=tuple(notes),
        commands=_commands(verdict, baseline.path, name),
    )


def price_day(base: Usage, as_of: dt.date | None) -> dt.date:
    """The day whose prices both sides have: the one asked for, else the baseline's last."""
    return as_of or period_of(base.cells).last or dt.datetime.now(dt.UTC).date()


def _commands(verdict: Verdict, baseline: str, current: str) -> dict[str, str]:
    """What to type next."""
    look = {"Look closer": f"routecost diff {shlex.quote(baseline)} {current}"}
    if verdict != "fail":
        return look
    accept = f'routecost baseline update {current} -o {shlex.quote(baseline)} --reason "why this is meant"'
    return {**look, "Accept it": accept}


def _saves(policy: Policy) -> bool:
    return policy.min_saving is not None


def _names(before: Measured, after: Measured, column: str) -> list[str | None]:
    """Tasks or features of both sides, in their usual order."""
    both = pl.concat([before.priced.select(column), after.priced.select(column)]).unique()
    if column == "task":
        return both.sort(task_order(), "task")["task"].to_list()
    return both.sort(column, nulls_last=True)[column].to_list()


def _tests(policy: Policy, before: Measured, after: Measured) -> list[tuple[Increase, list[str | None]]]:
    """Each rule of increase with what it is applied to: a glob stands for every task or feature of the baseline that it
    matches; a plain name for that one, whether it is there or not."""
    found = []
    for rule in policy.increases:
        names: list[str | None] = [None]
        if rule.name is not None:
            there = [str(n) for n in before.priced[rule.scope].drop_nulls().unique().sort().to_list()]
            names = [n for n in there if fnmatch.fnmatchcase(n, rule.name)] if "*" in rule.name else [rule.name]
        found.append((rule, names))
    return [(rule, names) for rule, names in found if names]


def _change(
    scope: Any, name: str | None, before: Measured, after: Measured, alpha: float, paired: pl.DataFrame | None
) -> Change:
    sides = [_grouped(m, scope, name) for m in (before, after)]
    found = stats.two_sample_ratio(
        sides[0]["today_usd"].to_numpy(), sides[0]["requests"].to_numpy(),
        sides[1]["today_usd"].to_numpy(), sides[1]["requests"].to_numpy(), alpha,
    )  # fmt: skip
    n = [_priced_requests(m, scope, name) for m in (before, after)]
    usd = [_cost(m, scope, name) for m in (before, after)]
    means = [u / k if k else None for u, k in zip(usd, n, strict=True)]
    both = means[0] is not None and means[1] is not None
    increase = means[1] / means[0] - 1 if both and means[0] and means[1] is not None else None
    plain = Change(
        scope, name, n[0], n[1], means[0], means[1], increase,
        means[1] - means[0] if means[0] is not None and means[1] is not None else None,
        found.low, found.high, found.detectable, alpha, groups=found.groups,
    )  # fmt: skip
    if paired is None or increase is None:
        return plain
    rows = paired if scope == "all" else paired.filter(pl.col(scope).eq_missing(pl.lit(name, pl.String)))
    pairs = stats.paired_ratio(
        rows["base_usd"].to_numpy(), rows["current_usd"].to_numpy(), rows["group"].to_numpy(), alpha
    )
    if pairs.low is None:
        return plain
    return replace(
        plain, increase=pairs.increase, difference_usd=pairs.difference, low=pairs.low, high=pairs.high,
        detectable=pairs.detectable, paired=True, groups=pairs.groups,
    )  # fmt: skip


def _grouped(side: Measured, scope: str, name: str | None) -> pl.DataFrame:
    frame = side.by_task if scope != "feature" or side.by_feature is None else side.by_feature
    rows = frame if scope == "all" else frame.filter(pl.col(scope).eq_missing(pl.lit(name, pl.String)))
    return rows.group_by("group").agg(pl.col("today_usd", "requests").sum()).sort("group")


def _rows(side: Measured, scope: str, name: str | None) -> pl.DataFrame:
    rows = side.priced.filter(pl.col("today_usd").is_not_null())
    return rows if scope == "all" else rows.filter(pl.col(scope).eq_missing(pl.lit(name, pl.String)))


def _priced_requests(side: Measured, scope: str, name: str | None) -> int:
    return int(_rows(side, scope, name)["requests"].sum())


def _cost(side: Measured, scope: str, name: str | None) -> float:
    return float(_rows(side, scope, name)["today_usd"].sum())


# --- rules ------------------------------------------------------------------------------------------------------------


def judge(rule: Increase, name: str | None, change: Change | None, policy: Policy) -> Outcome:
    """A rule of increase on what was measured: it fails where the estimate is above the limit and the lower bound above
    zero; it passes where even the upper bound is within the limit; it is undecided where the smallest increase that
    would be found is above policy.detect; else it passes."""
    shown = Rule("max_increase", str(replace(rule, scope="all", name=None)), name and f"{rule.scope}:{name}")
    what = "cost per request" if name is None else f"cost per request of {rule.scope} {name}"
    if change is None or change.increase is None or change.difference_usd is None:
        side = "baseline" if change is None or not change.base_requests else "current log"
        said = f"{what}: nothing to compare, as the {side} has no such request with a price"
        to_do = "Check the name, or leave the rule out."
        if rule.scope == "feature" and change is None:
            said = f"{what}: the usage files do not keep features apart"
            to_do = "Tally both sides with --group-features."
        return Outcome(shown, "undecided", said + ".", to_do, change)
    over = (rule.share is None or change.increase > rule.share) and (
        rule.usd is None or change.difference_usd > rule.usd
    )
    bound = "" if change.low is None else f", at least {change.low:+.1%}"
    said = (
        f"{what} {change.increase:+.1%} ({money(change.base_usd)} to {money(change.current_usd)}){bound}; "
        f"limit {shown.limit}"
    )
    if over and change.low is not None and change.low > 0:
        return Outcome(
            shown,
            "fail",
            said + ".",
            "If it is meant, accept it with `routecost baseline update`.",
            change,
        )
    within = rule.share is not None and change.high is not None and change.high <= rule.share
    if not within and (change.detectable is None or change.detectable > policy.detect):
        least = "nothing" if change.detectable is None else f"only {change.detectable:.0%} or more"
        return Outcome(
            shown, "undecided",
            f"{said}: with {change.base_requests:,} and {change.current_requests:,} requests {least} would be found.",
            "Replay more requests (or the same ones, so that they can be paired), or raise --detect.", change,
        )  # fmt: skip
    note = "" if not over else ": not more than chance explains"
    return Outcome(shown, "pass", f"{said}{note}.", "", change)


def _total(limit: Budget, change: Change, policy: Policy) -> Outcome:
    rule = Rule("max_increase_total", str(limit))
    if policy.requests_per_day is None or change.difference_usd is None or change.base_usd is None:
        return Outcome(rule, "undecided", "increase of the total: nothing to compare.", "", change)
    volume = policy.requests_per_day * DAYS[limit.per]
    more = change.difference_usd * volume
    at = f"total at {policy.requests_per_day:,.6g} requests a day"
    said = f"{at}: {signed(more)} a {limit.per}; limit {money(limit.usd)}"
    if more > limit.usd and change.low is not None and change.low > 0:
        return Outcome(rule, "fail", said + ".", "If it is meant, raise the limit.", change)
    if change.detectable is None or change.detectable > policy.detect:
        return Outcome(rule, "undecided", f"{said}: too few requests to tell.", "Replay more requests.", change)
    return Outcome(rule, "pass", said + ".", "", change)


def _budget(limit: Budget, side: Measured, policy: Policy, alpha: float) -> Outcome:
    rule = Rule("max_cost", str(limit))
    groups = _grouped(side, "all", None)
    mean = stats.jackknife_ratio(groups["today_usd"], groups["requests"])
    usd = side.usd / side.requests if side.requests else None
    factor = 1.0 if limit.per == "request" else (policy.requests_per_day or 0.0) * DAYS[limit.per]
    if usd is None or not factor:
        return Outcome(rule, "undecided", f"cost a {limit.per}: no request has a price.")
    low = _bound(mean, alpha, -1)
    value, least = usd * factor, None if low is None else low * factor
    bound = "" if least is None else f", at least {money(least)}"
    said = f"cost a {limit.per} {money(value)}{bound}; budget {money(limit.usd)}"
    if value <= limit.usd:
        return Outcome(rule, "pass", said + ".")
    if least is not None and least > limit.usd:
        return Outcome(rule, "fail", said + ".", "Make requests cheaper, or raise the budget.")
    return Outcome(rule, "undecided", f"{said}: above it, but not for certain.", "Replay more requests.")


def _bound(value: Interval, alpha: float, side: int) -> float | None:
    if value.standard_error is None or value.groups < 2:
        return None
    return value.estimate + side * stats.t_upper(alpha, value.groups - 1) * value.standard_error


def _saving(
    side: Measured, book: Book, table: Table, base_model: str | None, policy: Policy, alpha: float, day: dt.date
) -> Outcome:
    assert policy.min_saving is not None
    require_valid(book, [table], base_model)
    usage = rebased(side.usage, base_model) if base_model else side.usage
    priced = _priced(usage, book, day).drop("key")
    rates = savings.failure_rates(side.usage.cells, book) if table.failover_rate == "from-log" else None
    sent = savings.routed(priced, table, book, failure_rates=rates, as_of=day)
    saving = saving_of(sent, usage, table, book, as_of=day)
    rule = Rule("min_saving", f"{policy.min_saving:.0%}", table.name)
    if not saving.today_usd:
        return Outcome(rule, "undecided", f"saving of {table.name}: nothing to compare.")
    share = saving.saving_usd / saving.today_usd
    most = _bound(saving.share, alpha, 1)
    against = f" against everything on {base_model}" if base_model else ""
    said = f"{table.name} saves {share:.1%}{against}" + ("" if most is None else f", at most {most:.1%}")
    said += f"; at least {policy.min_saving:.1%} is asked for"
    if share >= policy.min_saving:
        return Outcome(rule, "pass", said + ".")
    if most is not None and most < policy.min_saving:
        return Outcome(rule, "fail", said + ".", "Look at `routecost simulate`, or recommend a new table.")
    return Outcome(rule, "undecided", f"{said}: less, but not for certain.", "Replay more requests.")


def _facts(policy: Policy, before: Measured, after: Measured, stale: Staleness | None) -> list[Outcome]:
    """Rules that no chance is in, and whether enough has a price for any of the others."""
    found = []
    for side, measured in (("baseline", before), ("current log", after)):
        share = measured.coverage.share
        if share is None or 1 - share > policy.max_unpriced:
            part = "nothing" if share is None else f"{1 - share:.1%}"
            unknown = ", ".join(u.model for u in measured.coverage.unknown[:MOST_NAMED])
            told = (
                f"{part} of the {side} is without a price"
                if share is not None
                else f"no request of the {side} is billable"
            )
            found.append(
                Outcome(
                    Rule("max_unpriced", f"{policy.max_unpriced:.0%}"), "undecided",
                    told + (f" ({unknown})" if unknown else "") + f"; at most {policy.max_unpriced:.0%} may be.",
                    "Give the models a price in an overlay (--pricing FILE).",
                )
            )  # fmt: skip
    if policy.no_unpriced:
        names = [u.model for u in after.coverage.unknown]
        rest = sum(after.coverage.reasons.values())
        said = (
            "every request has a price"
            if not rest
            else f"{rest:,} requests have no price: " + ", ".join(names[:MOST_NAMED])
        )
        found.append(
            Outcome(Rule("no_unpriced", None), "fail" if rest else "pass", said + ".",
                    "Give the models a price in an overlay (--pricing FILE)." if rest else "")
        )  # fmt: skip
    if policy.allow:
        used = after.priced.group_by("key", "provider", "model").agg(pl.col("requests").sum()).drop_nulls("model")
        outside = sorted(
            {
                str(key)
                for key, provider, model, _ in used.iter_rows()
                if not any(_allowed(g, key, provider, model) for g in policy.allow)
            }
        )
        said = (
            "only models of the allow list are used" if not outside else "not on the allow list: " + ", ".join(outside)
        )
        found.append(
            Outcome(Rule("allow", ", ".join(policy.allow)), "fail" if outside else "pass", said + ".",
                    "Add them to --allow, or find out what sends requests there." if outside else "")
        )  # fmt: skip
    if stale is not None:
        bad = [s for s in stale.found if s.level == "stale"]
        said = (
            f"{stale.table} is not stale"
            if not bad
            else f"{stale.table} is stale: " + "; ".join(f"{s.where}: {s.message}" for s in bad[:MOST_NAMED])
        )
        found.append(
            Outcome(Rule("table_not_stale", None, stale.table), "fail" if bad else "pass", said + ".",
                    "Recommend again: `routecost recommend`." if bad else "")
        )  # fmt: skip
    return found


def _allowed(glob: str, key: str | None, provider: str | None, model: str | None) -> bool:
    names = [n.lower() for n in (key, model, provider, (key or "").partition("/")[2]) if n]
    return any(fnmatch.fnmatchcase(n, glob.lower()) for n in names)


# --- why --------------------------------------------------------------------------------------------------------------


def _parts(priced: pl.DataFrame) -> pl.DataFrame:
    """The priced cells as gate.decompose takes them: cost by what it is paid for."""
    rows = priced.filter(pl.col("today_usd").is_not_null())
    return rows.select(
        "task",
        pl.col("key").alias("model"),
        "feature",
        "requests",
        *INPUT_KINDS,
        "output_tokens",
        "reasoning_tokens",
        cost_usd="today_usd",
        cost_input="today_input_tokens",
        cost_cache=pl.sum_horizontal(
            "today_cache_read_tokens", "today_cache_write_tokens", "today_cache_write_1h_tokens"
        ),
        cost_output=pl.col("today_output_tokens") * (1 - _reasoning()),
        cost_reasoning=pl.col("today_output_tokens") * _reasoning(),
        cost_other=pl.col("today_requests") + pl.col("today_fees"),
    )


def _reasoning() -> pl.Expr:
    """The part of a cell's output that is reasoning; what reasoning costs on top, where it does, goes with it too."""
    share = pl.col("reasoning_tokens") / pl.col("output_tokens")
    return pl.when(pl.col("output_tokens") > 0).then(share.clip(0.0, 1.0)).otherwise(0.0)


def _live(base: Usage, current: Usage, before: Measured, after: Measured, book: Book) -> Part:
    """What the change of list prices between the two logs adds, apart from the verdict: each side on its own days."""
    live = [float(_priced(u, book, None)["today_usd"].sum()) for u in (base, current)]
    scale = after.requests / before.requests if before.requests else 0.0
    usd = (live[1] - after.usd) - (live[0] - before.usd) * scale
    whole = before.usd * scale
    return Part("price", usd, usd / whole if whole else None)


def money(value: float | None) -> str:
    """Dollars with three significant digits, or more where they are large."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"${value:,.0f}"
    return f"${value:.3g}" if abs(value) < 100 else f"${value:,.2f}"


def signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{money(abs(value))}"


def require_alike(base: Usage, current: Usage) -> list[str]:
    """Refuse sides whose tasks or groups are not of the same kind; remarks on what else they were tallied with
    differently (each side is priced in its own bands, which is exact)."""
    differences = comparable_settings(base.settings, current.settings)
    serious = [d for d in differences if d.startswith(("unit", "classifier", "task rules"))]
    if serious:
        raise InputError(
            f"the baseline and the current log were not tallied alike ({'; '.join(serious)}), so their difference "
            "would say nothing. Tally both the same way, or accept a new baseline: routecost baseline update --replace."
        )
    return [f"Tallied differently: {d}." for d in differences]
