"""Checks made by hand, for the tests of what is written about them."""

from __future__ import annotations

import datetime as dt

from routecost.gate.result import Baseline, Change, Check, Mover, Outcome, Part, Rule, Verdict, Why

ALL = Change("all", None, 10_000, 9_800, 0.0042, 0.004956, 0.18, 0.000756, 0.121, 0.242, 0.07, 0.05, groups=400)
CODE = Change("task", "code", 2_000, 2_100, 0.011, 0.0165, 0.5, 0.0055, 0.37, 0.64, 0.15, 0.025, groups=180)
CHAT = Change("feature", "chat", 90, 80, 0.002, 0.0021, 0.05, 0.0001, -0.4, 0.6, 0.55, 0.025, groups=11)
NEW = Change("task", "brand-new", 0, 12, None, 0.001, None, None, None, None, None, 0.025)

FAILS = Outcome(
    Rule("max_increase", 0.10),
    "fail",
    "A request costs 18.0% more than in the baseline, at least 12.1% more; allowed are 10%.",
    "Shorten what `code` writes, or accept the new cost with `routecost baseline update`.",
    ALL,
)
UNDECIDED = Outcome(
    Rule("max_increase", 0.10, "chat"),
    "undecided",
    "80 requests show an increase of 55% or more; 20% is asked for.",
    "Compare at least 700 requests.",
    CHAT,
)
PASSES = Outcome(Rule("max_usd_per_request", 0.02), "pass", "A request costs $0.00496; allowed are $0.02.", change=ALL)

WHY = Why(
    7.41,
    (
        Part("volume", 0.0, 0.0),
        Part("task mix", 1.2, 0.029),
        Part("output tokens", 5.8, 0.14),
        Part("unexplained", 0.41, None),
    ),
    (
        Mover(
            "cell",
            "code on openai/gpt-5.4",
            5.6,
            0.136,
            "output tokens of `code` on openai/gpt-5.4 grew from 410 to 690 a request (+14 points)",
        ),
    ),
    (Mover("feature", "review", 4.9, 0.12, "`review` costs $0.0021 more a request"),),
    "+18 %: output tokens of `code` on openai/gpt-5.4 grew from 410 to 690 (+14 points)",
)
SAME = Why(0.0, (), (), (), "No change.")


def check(
    verdict: Verdict,
    *outcomes: Outcome,
    exit_code: int | None = None,
    why: Why = WHY,
    changes: tuple[Change, ...] = (ALL, CODE, CHAT, NEW),
    on_undecided: Verdict = "undecided",
    baseline: Baseline | None = None,
    notes: tuple[str, ...] = ("12 requests of a model without a price are left out.",),
) -> Check:
    return Check(
        verdict=verdict,
        exit_code={"pass": 0, "fail": 1, "undecided": 4}[verdict] if exit_code is None else exit_code,
        outcomes=outcomes,
        changes=changes,
        why=why,
        baseline=baseline
        or Baseline(
            "baseline.parquet", dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC), "Ada", "new prompt", "0123456789abcdef0123"
        ),
        current="usage.parquet",
        priced_on=dt.date(2026, 3, 1),
        book_version="2026-02-27",
        alpha=0.05,
        detect=0.2,
        sides={
            "base": {"requests": 10_000, "priced_requests": 9_990, "cost_usd": 42.0},
            "current": {"requests": 9_812, "priced_requests": 9_800, "cost_usd": 48.57},
        },
        on_undecided=on_undecided,
        notes=notes,
        commands={"Accept the new cost": 'routecost baseline update usage.parquet -o baseline.parquet --reason "..."'},
    )


PASSED = check("pass", PASSES, why=SAME, changes=(ALL,), notes=())
FAILED = check("fail", PASSES, UNDECIDED, FAILS)
OPEN = check("undecided", PASSES, UNDECIDED)

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "a|b\n::error file=x::owned",
    "%0A::add-mask::x\r\n::set-output name=y::z",
    "]]></failure><failure message='x'>&amp;<!--",
    "`x` @octo-org/team fixes #1 and GH-2 [click](https://evil.example) www.evil.example",
    "```\n# heading\n```",
    "\x00\x1b[31mred\x7f\u202egnp.exe\ud800",
    "<!-- routecost-check -->",
    "1. one",
    "# heading",
    "a\\",
    "**bold** _it_ ~~no~~ $x$",
    "x" * 5_000,
)


def hostile(name: str) -> Check:
    """A check in which everything that may come from a log, a file or a person is `name`."""
    change = Change("task", name, 10, 10, 1.0, 2.0, 1.0, 1.0, 0.5, 1.5, 0.1, 0.05)
    outcome = Outcome(Rule("max_increase", 0.1, name), "fail", f"Cost of {name} grew.", f"Look at {name}.", change)
    why = Why(
        1.0,
        (Part("output tokens", 1.0, 0.5),),
        (Mover("cell", name, 1.0, 0.5, f"`{name}` grew"),),
        (Mover("feature", name, 1.0, 0.5, f"{name} grew"),),
        f"+50 %: {name} grew",
    )
    return check(
        "fail",
        outcome,
        why=why,
        changes=(change,),
        baseline=Baseline(name, None, name, name, name),
        notes=(f"{name} has no price.", name),
    )
