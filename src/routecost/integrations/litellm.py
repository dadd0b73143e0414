"""A callback of LiteLLM's proxy: chat requests for `auto` go where the routing table sends them.

    # config.yaml of the proxy
    litellm_settings:
      callbacks: [routecost.integrations.litellm.handler]

    ROUTECOST_TABLE=routes.yaml litellm --config config.yaml

The models of the table are models of the proxy, by the same names. Settings, all but the first optional:

    ROUTECOST_TABLE           a routing table, or the name of a shipped one
    ROUTECOST_TRIGGERS        models that are routed, with commas between them (auto)
    ROUTECOST_ALL             1: every model is routed, also one that a caller named
    ROUTECOST_MODE_HEADER     the header that a request may say its mode in (x-routecost-mode)
    ROUTECOST_FEATURE_HEADER  and its feature (x-routecost-feature)
    ROUTECOST_CLASSIFIER      a classifier of your own; none: rules only
    ROUTECOST_TASK_RULES      task rules of your own
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import litellm
from litellm.integrations.custom_logger import CustomLogger

from routecost.errors import InputError, UsageError
from routecost.router import FAILED_OPEN, Decision, Router

__all__ = ["RouteRequests", "from_environment"]

TRIGGERS: Final = ("auto",)
MODE_HEADER: Final = "x-routecost-mode"
FEATURE_HEADER: Final = "x-routecost-feature"

_LOG: Final = logging.getLogger("routecost.litellm")
# What `/chat/completions` is called, streamed or not. Embeddings, images, audio, batches and the rest pass through.
_CHAT: Final = ("completion", "acompletion")
# Where the decision stands in a request's metadata and in its spend log.
_NOTE: Final = "routecost"
# What of it the answer's headers tell.
_TOLD: Final = ("model", "task", "mode", "reason")
# Tags that LiteLLM adds by itself.
_AUTOMATIC_TAG: Final = "User-Agent: "
# Where a request's labels are read in the log as well (`logs.dialects.litellm`).
_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "feature": ("feature", "Feature"),
    "session": ("session_id", "sessionId", "conversation_id", "thread_id"),
    "project": ("project",),
    "mode": ("mode",),
    "task": ("task", "task_type"),
}


class RouteRequests(CustomLogger):
    """Gives chat requests for a trigger model the model, and the fallbacks, of a routing table.

    The task, the mode and the decision are put into the request's metadata: `routecost` for other callbacks, and
    `spend_logs_metadata` for the log, where `routecost analyze` finds task and mode again. A pinned model is one that
    the caller names as the model: a name in metadata would get round the models that its key may use.

    Fails open: what cannot be read goes to the table's default, and the logger `routecost.litellm` tells why.
    """

    def __init__(
        self,
        router: Router,
        *,
        triggers: Iterable[str] = TRIGGERS,
        every_model: bool = False,
        mode_header: str = MODE_HEADER,
        feature_header: str = FEATURE_HEADER,
    ) -> None:
        super().__init__()
        self.router = router
        self.triggers = frozenset(triggers)
        self.every_model = every_model
        self.mode_header = mode_header.lower()
        self.feature_header = feature_header.lower()
        # loads the tokenizer now, and not while a request waits
        _input_tokens({"messages": [{"role": "user", "content": "warm up"}]})

    def routes(self, model: object) -> bool:
        """Whether chat requests for a model are routed."""
        return isinstance(model, str) and (self.every_model or model in self.triggers)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """The request as it is to be sent; None leaves it alone."""
        if call_type not in _CHAT or not self.routes(data.get("model")):
            return None
        try:
            # long prompts take milliseconds to count: other requests go on meanwhile
            decision = await asyncio.to_thread(self.decide, data)
            return self._sent(data, decision)
        except Exception as error:  # fail-open
            return {**data, **self._default(error)}

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], *_: Any, **__: Any
    ) -> dict[str, str] | None:
        """The decision as headers of the answer, whose own `model` is the one that was asked for."""
        note = _mapping(_mapping(data.get("metadata")).get(_NOTE))
        told = {f"x-routecost-{name}": str(note[name]) for name in _TOLD if note.get(name) is not None}
        return {name: value for name, value in told.items() if value.isascii() and value.isprintable()} or None

    def decide(self, data: Mapping[str, Any]) -> Decision:
        """Where a request goes, by what its log will say of it."""
        model, known = data.get("model"), self._known(data)
        return self.router.route(
            data.get("messages"),
            mode=known["mode"],
            task=known["task"],
            feature=known["feature"],
            user=known["user"],
            session=known["session"],
            project=known["project"],
            model=None if model in self.triggers else model,
            tools=data.get("tools"),
            input_tokens=_input_tokens(data),
        )

    def _known(self, data: Mapping[str, Any]) -> dict[str, str | None]:
        """What a request says of itself: in its metadata, else in a header, else what its key adds to the log. A label
        of the metadata comes first because the log has it whatever we write."""
        metadata = _mapping(data.get("metadata"))
        own = _mapping(metadata.get("requester_metadata", metadata))
        spend = _mapping(metadata.get("spend_logs_metadata"))
        sent = _mapping(_mapping(data.get("proxy_server_request")).get("headers"))
        headers = {str(name).lower(): value for name, value in sent.items()}
        headed = {"mode": headers.get(self.mode_header), "feature": headers.get(self.feature_header)}
        labels = {
            label: _first(*map(own.get, names), headed.get(label), *map(spend.get, names))
            for label, names in _LABELS.items()
        }
        tags = metadata.get("tags")
        tag = next((t for t in tags if not str(t).startswith(_AUTOMATIC_TAG)), None) if isinstance(tags, list) else None
        return {
            **labels,
            "feature": _first(labels["feature"], tag),
            "session": _first(data.get("litellm_session_id"), labels["session"]),
            "project": _first(labels["project"], metadata.get("user_api_key_team_alias")),
            "user": _first(
                metadata.get("user_api_key_end_user_id"), data.get("user"), metadata.get("user_api_key_user_id")
            ),
        }

    def _sent(self, data: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
        """The request with its model, its fallbacks and the note of both."""
        asked: Any = data.get("model")
        wanted = [] if decision.model is None else [_name_in_proxy(decision, decision.model), *decision.fallbacks]
        served = [name for name in wanted if _is_served(name)]
        # where the proxy has none of them it says so itself, by the name in the table
        sent_to = (served or wanted or [asked])[0]
        if wanted and sent_to != wanted[0]:
            _LOG.error("the proxy has no model %s, the request goes to %s", decision.model, sent_to)
        if decision.error is not None:
            _LOG.warning("a request was routed without all that it says", exc_info=decision.error)
        _LOG.info("%s -> %s (task %s, mode %s, %s)", asked, sent_to, decision.task, decision.mode, decision.reason)
        note = {
            "table": self.router.table.name,
            "asked": asked,
            "model": decision.model,
            "sent_to": sent_to,
            "task": decision.task,
            "task_source": decision.task_source,
            "confidence": decision.confidence,
            "mode": decision.mode,
            "reason": decision.reason,
        }
        labels = {"task": decision.task, "mode": decision.mode, "feature": self._known(data)["feature"]}
        told = {name: value for name, value in labels.items() if value is not None}
        # copies: parts of the metadata belong to the caller's key
        metadata = _mapping(data.get("metadata"))
        for_log = {**_mapping(metadata.get("spend_logs_metadata")), **told, _NOTE: note}
        routed = {**data, "model": sent_to, "metadata": {**metadata, "spend_logs_metadata": for_log, _NOTE: note}}
        if served[1:] and "fallbacks" not in data:
            routed["fallbacks"] = served[1:]
        return routed

    def _default(self, error: Exception) -> dict[str, Any]:
        """What is changed of a request that could not even be read."""
        _LOG.error("a request could not be read and goes to the default", exc_info=error)
        table = self.router.table
        model = (table.default or {}).get(table.default_mode)
        return {} if model is None else {"model": model}


def from_environment(environment: Mapping[str, str] = os.environ) -> RouteRequests:
    """The callback that the environment describes. Raises UsageError where there is no table, and InputError where
    something cannot be read: the proxy then does not start."""
    table = environment.get("ROUTECOST_TABLE")
    if not table:
        raise UsageError(
            "ROUTECOST_TABLE is not set; it names the routing table that requests are routed by, such as routes.yaml."
        )
    named = environment.get("ROUTECOST_CLASSIFIER") or None
    router = Router(table, False if named == "none" else named, rules=environment.get("ROUTECOST_TASK_RULES") or None)
    triggers = [name.strip() for name in environment.get("ROUTECOST_TRIGGERS", "").split(",")]
    return RouteRequests(
        router,
        triggers=[name for name in triggers if name] or TRIGGERS,
        every_model=_yes(environment, "ROUTECOST_ALL"),
        mode_header=environment.get("ROUTECOST_MODE_HEADER") or MODE_HEADER,
        feature_header=environment.get("ROUTECOST_FEATURE_HEADER") or FEATURE_HEADER,
    )


def __getattr__(name: str) -> Any:
    # the proxy imports `handler`; other importers of this module need no environment
    if name == "handler":
        return _handler()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _handler() -> RouteRequests:
    return from_environment()


def _yes(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value not in ("", "0", "1", "no", "yes", "false", "true"):
        raise InputError(f"{name}: saw {value!r}, expected 1 or 0.")
    return value in ("1", "yes", "true")


# --- what the proxy serves --------------------------------------------------------------------------------------------


def _name_in_proxy(decision: Decision, model: str) -> str:
    """The model's own name, else the group that `routecost routes export --to litellm` makes of the table's cell."""
    if not _is_served(model) and decision.reason in ("route", "default", FAILED_OPEN):
        group = f"{decision.task if decision.reason == 'route' else 'default'}-{decision.mode}"
        if _is_served(group):
            return group
    return model


def _is_served(model: str) -> bool:
    """Whether the proxy has a model of this name; yes outside a proxy."""
    router = getattr(sys.modules.get("litellm.proxy.proxy_server"), "llm_router", None)
    if router is None:
        return True
    if hasattr(router, "registry"):
        return bool(router.registry().deployments(model))
    # older versions of LiteLLM
    return bool(router.get_model_list(model_name=model))


# --- what a request says ----------------------------------------------------------------------------------------------


def _input_tokens(data: Mapping[str, Any]) -> int | None:
    """About how many tokens the whole input has; None where LiteLLM cannot count them."""
    try:
        # without the default, images are downloaded to see how large they are
        counted = litellm.token_counter(
            messages=data.get("messages"), tools=data.get("tools"), use_default_image_token_count=True
        )
    except Exception:
        return None
    return counted or None


def _first(*values: object) -> str | None:
    """The first that is a text and not empty."""
    return next((value for value in values if isinstance(value, str) and value), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
