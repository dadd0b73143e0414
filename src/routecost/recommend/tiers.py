"""The policy for those who have no evidence: a small model for simple work, a code model for code, a large one else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from routecost.recommend.choose import Choice, Offer, Rival

TIER_OF: Final[Mapping[str, str]] = {"simple": "small", "code": "code", "reasoning": "large", "complex": "large"}
# What a model's name says where no benchmark is at hand.
_CODE: Final = ("codestral", "devstral", "codex", "code")


def kind_of(key: str, tier: str | None) -> frozenset[str]:
    """What the policy takes a model for: a code model is that and nothing else."""
    name = key.rpartition("/")[2].lower()
    if any(word in name for word in _CODE):
        return frozenset({"code"})
    return frozenset({tier} if tier else ())


def by_tier(
    task: str, mode: str, offers: Sequence[Offer], kinds: Mapping[str, frozenset[str]], reference: str
) -> Choice:
    """The cheapest model of the task's tier in eco, the dearest in balanced (price stands in for quality where nothing
    else is known), never one that costs more than the reference; the reference in sport, where it is of that tier
    itself, and where there is none."""
    own = next(o for o in offers if o.model == reference)
    wanted = TIER_OF.get(task)
    fitting = sorted(
        (o for o in offers if wanted in kinds.get(o.model, ()) and o.blocked is None and o.cost_usd < own.cost_usd),
        key=lambda o: (o.cost_usd, o.model),
    )
    if mode == "sport" or not fitting or wanted in kinds.get(reference, ()):
        return Choice(task, mode, reference, "tiers", own, (reference,), 0, None)
    chosen = fitting[0] if mode == "eco" else fitting[-1]
    rest = [o for o in fitting if o is not chosen]
    second = (rest[0] if mode == "eco" else rest[-1]) if rest else own
    why = "the reference: dearer" if second is own else "dearer" if mode == "eco" else "cheaper, so taken in eco only"
    eligible = (*(o.model for o in fitting), reference)
    return Choice(
        task,
        mode,
        chosen.model,
        "tiers",
        chosen,
        eligible,
        0,
        None,
        runner_up=Rival(second.model, why, second.cost_usd),
    )
