"""The library's front doors: paths and names in, results out. The command line calls these and nothing else."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from routecost.errors import UsageError
from routecost.gate.result import Baseline, Check
from routecost.gate.rules import Policy
from routecost.pipeline import checking, conversion, explanation, inspection, labelling, staleness
from routecost.pipeline import pairs as pairing
from routecost.pipeline.analysis import Analysis, analyse, require_known
from routecost.pipeline.baseline import read_baseline
from routecost.pipeline.calculator import parse_mix, parse_rate, parse_tokens, usage_of
from routecost.pipeline.conversion import Converted
from routecost.pipeline.explanation import Explanation
from routecost.pipeline.feedback import read_feedback
from routecost.pipeline.inspection import Inspected
from routecost.pipeline.intake import Intake, Options, Progress, TasksFrom, pairs_beside, read
from routecost.pipeline.labelling import Classified, Evaluation, Sampled
from routecost.pipeline.misrouting import Mistakes
from routecost.pipeline.recommendation import Recommendation, Wishes
from routecost.pipeline.recommendation import recommend as _recommend
from routecost.pipeline.sensitivity import Errors, Sensitivity
from routecost.pipeline.sensitivity import sensitivity as _sensitivity
from routecost.pipeline.simulation import Simulation
from routecost.pipeline.simulation import simulate as _simulate
from routecost.pipeline.staleness import Staleness
from routecost.prices import Book, read_prices
from routecost.quality import merged, read_quality
from routecost.routing import Table, read_table
from routecost.tasks import Rules, read_rules
from routecost.usage import is_usage_file, pairs_path
from routecost.usage.cells import Unit

if TYPE_CHECKING:
    import polars as pl

    from routecost.classifier.evaluate import Measured
    from routecost.classifier.train import Trained

DEFAULT_TABLE = "default"
EXAMPLE = "worked-example"

Paths = str | Path | Sequence[str | Path]


def analyze(
    paths: Paths,
    *,
    table: Table | str | Path = DEFAULT_TABLE,
    mode: str | None = None,
    by: Sequence[str] = (),
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    task_rules: Path | None = None,
    classify: bool = True,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    unit: Unit = "auto",
    rejects: Path | None = None,
    base_model: str | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    labels: Path | None = None,
    retry_rate: float = 1.0,
    harm_usd: float = 0.0,
    feedback: Sequence[str | Path] = (),
    feedback_scale: str | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """What logs or usage files cost by task and model, and what a routing table would save.

    paths: files, globs, directories, object-store URLs or `-`. table: a Table, a YAML file or the name of a shipped
    one. since (inclusive) and until (exclusive) are moments in UTC. feedback: files of what people said later, with
    ratings on feedback_scale (`1-5`) or thumbs (see feedback.read_feedback). Costs are in USD over the whole period;
    `scale` of the result gives days and months. Raises RoutecostError (a subclass says what kind).
    """
    routing = _table(table)
    options = Options(
        tuple(by),
        since,
        until,
        field_map,
        task_rules,
        log_format=log_format,
        estimates=estimates,
        classify=classify,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        rejects=rejects,
        feedback=read_feedback(feedback, feedback_scale),
    )
    book, intake = _read(paths, pricing, [routing], options, progress)
    return analyse(
        intake,
        book,
        routing,
        by=by,
        mode=mode,
        requests_per_day=requests_per_day,
        as_of=as_of,
        base_model=base_model,
        mistakes=_mistakes(classifier, labels, retry_rate, harm_usd),
    )


def simulate(
    paths: Paths,
    tables: Sequence[Table | str | Path],
    *,
    modes: Sequence[str] = (),
    share: float = 1.0,
    unit: Unit = "auto",
    base_model: str | None = None,
    quality: Path | None = None,
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    task_rules: Path | None = None,
    classify: bool = True,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    rejects: Path | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    labels: Path | None = None,
    retry_rate: float = 1.0,
    harm_usd: float = 0.0,
    feedback: Sequence[str | Path] = (),
    feedback_scale: str | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Routing tables side by side, against today's traffic and against controls. See Simulation and `analyze`."""
    routing = [_table(t) for t in tables]
    options = Options(
        (),
        since,
        until,
        field_map,
        task_rules,
        log_format=log_format,
        estimates=estimates,
        classify=classify,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        rejects=rejects,
        feedback=read_feedback(feedback, feedback_scale),
    )
    book, intake = _read(paths, pricing, routing, options, progress)
    return _simulate(
        intake,
        book,
        routing,
        modes=modes,
        share=share,
        base_model=base_model,
        quality=read_quality(quality) if quality else None,
        requests_per_day=requests_per_day,
        as_of=as_of,
        mistakes=_mistakes(classifier, labels, retry_rate, harm_usd),
    )


def sensitivity(
    paths: Paths,
    *,
    table: Table | str | Path = DEFAULT_TABLE,
    mode: str | None = None,
    errors: Errors = "uniform",
    lowest: float = 0.25,
    retry_rate: float = 1.0,
    harm_usd: float = 0.0,
    labels: Path | None = None,
    quality: Path | None = None,
    base_model: str | None = None,
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    task_rules: Path | None = None,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """How the saving of a table falls as the classifier gets worse. labels: labelled requests to measure it on."""
    routing = _table(table)
    options = Options(
        (),
        since,
        until,
        field_map,
        task_rules,
        log_format=log_format,
        estimates=estimates,
        classifier=classifier,
        tasks_from=tasks_from,
    )
    confusion = _mistakes(classifier, labels, retry_rate, harm_usd).confusion()
    book, intake = _read(paths, pricing, [routing], options, progress)
    return _sensitivity(
        intake,
        book,
        routing,
        mode=mode,
        confusion=confusion,
        errors=errors,
        lowest=lowest,
        retry_rate=retry_rate,
        harm_usd=harm_usd,
        quality=read_quality(quality) if quality else None,
        base_model=base_model,
        as_of=as_of,
    )


def recommend(
    paths: Paths,
    *,
    quality: Sequence[str | Path] = (),
    wishes: Wishes | None = None,
    table: Table | str | Path | None = None,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> Recommendation:
    """The routing table to use for this traffic, with the evidence for every cell. quality: files with graded answers
    (see the guide). table: today's, whose overrides are kept. See Recommendation and Wishes."""
    options, wishes = options or Options(), _with_table(wishes or Wishes(), table)
    tables = [wishes.current] if wishes.current else []
    book, intake = _read(paths, pricing, tables, options, progress)
    return _recommend(
        intake,
        book,
        _quality(quality),
        wishes,
        requests_per_day=requests_per_day,
        as_of=as_of,
        mistakes=_mistakes(options.classifier, labels, 1.0, 0.0),
        version=_version(),
    )


def recommend_mix(
    requests: str | float,
    mix: str,
    tokens: str,
    model: str,
    *,
    quality: Sequence[str | Path] = (),
    wishes: Wishes | None = None,
    table: Table | str | Path | None = None,
    pricing: Sequence[str | Path] = (),
    as_of: dt.date | None = None,
) -> Recommendation:
    """`recommend` without a log: for a day of made-up traffic, all on one model now."""
    wishes = _with_table(wishes or Wishes(), table)
    book = read_prices(pricing)
    intake, rate = _made_up(requests, mix, tokens, model, book, as_of)
    wishes = replace(wishes, reference=wishes.reference or model)
    return _recommend(intake, book, _quality(quality), wishes, requests_per_day=rate, as_of=as_of, version=_version())


def check(
    paths: Paths,
    baseline: str | Path,
    policy: Policy | None = None,
    *,
    table: Table | str | Path | None = None,
    base_model: str | None = None,
    not_stale: bool = False,
    pairs: bool = True,
    live_prices: bool = False,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> Check:
    """Whether requests got dearer than a baseline (a usage file or a log), by the rules of a policy, and why. See
    Check and Policy."""
    options, policy = replace(options or Options(), group_features=True), policy or Policy()
    if pairs:
        options = pairing.asked(options, str(baseline), _listed(paths))
    routing = None if table is None else _table(table)
    tables = [routing] if routing is not None else []
    book, current = _read(paths, pricing, tables, options, progress)
    if Path(baseline).is_file() and not is_usage_file(baseline):
        before, told = read([str(baseline)], book, tables=tables, options=options), Baseline(str(baseline))
    else:
        usage, told = read_baseline(baseline)
        kept = pairs and pairs_path(baseline).exists()
        beside, said = pairs_beside(str(baseline), usage, options) if kept else (None, ())
        before = Intake(usage, files=1, pairs=beside, notes=tuple(said))
    notes = checking.require_alike(before.usage, current.usage)
    found = pairing.evidence(before, current, book, checking.price_day(before.usage, as_of))
    stale = staleness.check_table(routing, book, as_of=as_of) if routing is not None and not_stale else None
    return checking.check(
        before,
        current,
        book,
        policy,
        baseline=told,
        name=shlex.join(_listed(paths)),
        table=routing,
        base_model=base_model,
        stale=stale,
        live_prices=live_prices,
        paired=found.rows,
        as_of=as_of,
        notes=(*notes, *found.notes, *dict.fromkeys((*before.notes, *current.notes))),
    )


def check_table(
    table: Table | str | Path,
    paths: Paths = (),
    *,
    quality: Sequence[str | Path] = (),
    max_age_days: int = 90,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> Staleness:
    """What makes a routing table stale: retired models, changed prices, dominated cells, old evidence. paths: logs or
    usage files to tell what it costs; none: the table alone is looked at. See Staleness."""
    options, routing = options or Options(), _table(table)
    intake = None
    if _listed(paths):
        book, intake = _read(paths, pricing, [routing], options, progress)
    else:
        book = read_prices(pricing)
    return staleness.check_table(
        routing,
        book,
        intake=intake,
        quality=_quality(quality),
        max_age_days=max_age_days,
        requests_per_day=requests_per_day,
        as_of=as_of,
        mistakes=_mistakes(options.classifier, None, 1.0, 0.0),
    )


def _with_table(wishes: Wishes, table: Table | str | Path | None) -> Wishes:
    return wishes if table is None else replace(wishes, current=_table(table))


def _quality(paths: Sequence[str | Path]) -> pl.DataFrame | None:
    return merged([read_quality(path) for path in paths]) if paths else None


def _version() -> str:
    from routecost import __version__

    return __version__


def tally(
    paths: Paths,
    *,
    tables: Sequence[Table | str | Path] = (),
    by: Sequence[str] = (),
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    task_rules: Path | None = None,
    classify: bool = True,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    unit: Unit = "auto",
    group_features: bool = False,
    rejects: Path | None = None,
    plain_ids: bool = False,
    salt: str | None = None,
    pairs: bool = False,
    feedback: Sequence[str | Path] = (),
    feedback_scale: str | None = None,
    progress: Progress | None = None,
) -> Intake:
    """Logs and usage files counted into one usage, which usage.write_usage stores. tables: those whose rules on the
    request itself (user, prompt, size) the usage shall be able to answer. Ids among `by` are hashed with a salt (that
    of the account on this machine unless one is given) unless plain_ids. pairs: also keep requests one by one, by keyed
    hashes under that salt, which usage.write_pairs stores."""
    if plain_ids and salt is not None and not pairs:
        raise UsageError("--plain-ids keeps ids as they are, so a --salt says nothing: leave one of them out.")
    options = Options(
        tuple(by),
        since,
        until,
        field_map,
        task_rules,
        log_format=log_format,
        estimates=estimates,
        classify=classify,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        group_features=group_features,
        rejects=rejects,
        hash_ids=not plain_ids,
        salt=salt,
        pairs=pairs,
        feedback=read_feedback(feedback, feedback_scale),
    )
    book, intake = _read(paths, pricing, [_table(t) for t in tables], options, progress)
    return replace(intake, book_version=book.version)


def classify(
    paths: Paths,
    output: Path,
    *,
    table: Table | str | Path | None = None,
    mode: str | None = None,
    pricing: Sequence[str | Path] = (),
    classifier: Path | None = None,
    keep_prompts: bool = False,
    field_map: Path | None = None,
    log_format: str | None = None,
    task_rules: Path | None = None,
    tasks_from: TasksFrom = "log",
    progress: Progress | None = None,
) -> Classified:
    """Write the task of each request to `output` (.parquet, .csv, .jsonl), and with a table the model that it would
    have gone to: shadow routing. See Classified."""
    typist = _typist(classifier, task_rules, tasks_from)
    return labelling.classify(
        _listed(paths),
        output,
        typist,
        table=None if table is None else _table(table),
        mode=mode,
        book=None if table is None else read_prices(pricing),
        keep_prompts=keep_prompts,
        field_map=field_map,
        log_format=log_format,
        progress=progress,
    )


def inspect(
    paths: Paths, *, field_map: Path | None = None, log_format: str | None = None, estimates: bool = True
) -> list[Inspected]:
    """What each file is taken for and why, and what of it is read. See Inspected."""
    return inspection.inspect(_listed(paths), field_map=field_map, log_format=log_format, estimates=estimates)


def convert(
    paths: Paths,
    output: Path,
    *,
    by: Sequence[str] = (),
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    rejects: Path | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Write every request of any logs to `output` (.parquet, .csv, .jsonl) under our column names. See Converted."""
    return conversion.convert(
        _listed(paths),
        output,
        by=by,
        field_map=field_map,
        log_format=log_format,
        estimates=estimates,
        rejects=rejects,
        progress=progress,
    )


def explain(
    text: str,
    *,
    system: str | None = None,
    previous_prompt: str | None = None,
    classifier: Path | None = None,
    task_rules: Path | None = None,
    tasks_from: TasksFrom = "log",
) -> Explanation:
    """Why a prompt has the task that it has: the rule that fires, or the words that weigh most."""
    typist = _typist(classifier, task_rules, tasks_from)
    return explanation.explain(text, typist, system=system, previous_prompt=previous_prompt)


def sample(
    paths: Paths,
    n: int,
    output: Path,
    *,
    classifier: Path | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    task_rules: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sampled:
    """Write n requests for a person to label, with the weights that make them speak for all. See Sampled."""
    typist = _typist(classifier, task_rules, "both")
    return labelling.sample(
        _listed(paths), n, output, typist, seed=seed, field_map=field_map, log_format=log_format, progress=progress
    )


def evaluate(
    labels: Paths,
    *,
    classifier: Path | None = None,
    task_rules: Path | None = None,
    table: Table | str | Path | None = None,
    mode: str | None = None,
    pricing: Sequence[str | Path] = (),
    worst: int = 10,
    as_of: dt.date | None = None,
) -> Evaluation:
    """How good a classifier is on labelled requests, and with a table what its mistakes cost. See Evaluation."""
    return labelling.evaluate_labels(
        labelling.read_labels([Path(p) for p in _listed(labels)]),
        _typist(classifier, task_rules, "both"),
        table=None if table is None else _table(table),
        mode=mode,
        book=None if table is None else read_prices(pricing),
        worst=worst,
        as_of=as_of,
    )


def train(
    labels: Paths,
    output: Path,
    *,
    start: Path | Literal["bundled", "scratch"] = "bundled",
    taxonomy: Path | None = None,
    seed: int = 0,
) -> tuple[Trained, Measured]:
    """Train a classifier on labelled requests and write it to `output`; what it is, and how it did on labels that it
    had not seen. start: the classifier to continue from."""
    from routecost import classifier

    found = labelling.read_labels([Path(p) for p in _listed(labels)])
    classes = labelling.read_taxonomy(taxonomy) if taxonomy else None
    before = None if start == "scratch" else classifier.load(None if start == "bundled" else Path(start))
    trained, held = labelling.train_labels(found, start=before, classes=classes, name=output.stem, seed=seed)
    classifier.save(trained.classifier, output)
    return trained, held


def estimate(
    requests: str | float,
    mix: str,
    tokens: str,
    model: str,
    *,
    table: Table | str | Path = DEFAULT_TABLE,
    mode: str | None = None,
    pricing: Sequence[str | Path] = (),
    as_of: dt.date | None = None,
) -> Analysis:
    """The calculator: a day of made-up traffic, analysed. `requests` a day, or text such as `50000/day`."""
    book = read_prices(pricing)
    intake, rate = _made_up(requests, mix, tokens, model, book, as_of)
    return analyse(intake, book, _table(table), mode=mode, requests_per_day=rate, as_of=as_of)


def _made_up(
    requests: str | float, mix: str, tokens: str, model: str, book: Book, as_of: dt.date | None
) -> tuple[Intake, float]:
    """A day of made-up traffic, and how many requests it stands for."""
    rate = parse_rate(requests) if isinstance(requests, str) else float(requests)
    require_known(book, model, "--model")
    shares = parse_mix(mix)
    # where the volume does not divide into whole requests, a million are counted and scaled
    whole = all(float(rate * share).is_integer() for share in shares.values())
    return usage_of(rate if whole else 1e6, shares, parse_tokens(tokens, shares), model, book, day=as_of), rate


def worked_example() -> Analysis:
    """The article's example: 50,000 requests a day on gpt-5.4, 2,000 / 500 tokens each, half of them simple."""
    from routecost import shipped

    return estimate(
        50_000,
        "simple=50,code=20,reasoning=20,complex=10",
        "2000/500",
        "gpt-5.4",
        table=EXAMPLE,
        pricing=[shipped.folder("pricing") / "worked-example.yaml"],
        as_of=dt.date(2026, 5, 22),
    )


def _table(table: Table | str | Path) -> Table:
    return table if isinstance(table, Table) else read_table(table)


def _mistakes(classifier: Path | None, labels: Path | None, retry_rate: float, harm_usd: float) -> Mistakes:
    """What is known of the classifier's mistakes: from labels, else what its file says."""
    from routecost.classifier import load

    for option, value in (("--retry-rate", retry_rate), ("--harm-usd", harm_usd)):
        if value < 0:
            raise UsageError(f"{option}: saw {value:g}, expected 0 or more.")
    if labels is not None:
        measured = evaluate([labels], classifier=classifier, worst=0).alone.confusion
        return Mistakes(lambda: measured, retry_rate, harm_usd)
    return Mistakes(lambda: load(classifier).confusion, retry_rate, harm_usd)


def _listed(paths: Paths) -> list[str]:
    return [str(paths)] if isinstance(paths, str | Path) else [str(p) for p in paths]


def _typist(classifier: Path | None, task_rules: Path | None, tasks_from: TasksFrom) -> labelling.Typist:
    from routecost.classifier import load

    return labelling.Typist(
        load(classifier) if tasks_from != "rules" else None,
        read_rules(task_rules) if tasks_from != "classifier" else Rules(),
        ignore_log=tasks_from != "log",
    )


def _read(
    paths: Paths,
    pricing: Sequence[str | Path],
    tables: Sequence[Table],
    options: Options,
    progress: Progress | None,
) -> tuple[Book, Intake]:
    book = read_prices(pricing)
    return book, read(_listed(paths), book, tables=tables, options=options, progress=progress)
