"""How other gateways call the providers of the price book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from routecost.errors import InputError
from routecost.export.cells import Resolve, Served

# LiteLLM's provider prefixes (https://docs.litellm.ai/docs/providers), and the settings that it reads from the
# environment for each; where none are given, its client finds its credentials itself (AWS).
LITELLM: Final = {
    "anthropic": "anthropic",
    "aws": "bedrock",
    "azure": "azure",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks_ai",
    "google": "gemini",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together_ai",
    "x-ai": "xai",
    "zai": "zai",
}
LITELLM_SETTINGS: Final[dict[str, dict[str, str]]] = {
    "anthropic": {"api_key": "ANTHROPIC_API_KEY"},
    "azure": {"api_key": "AZURE_API_KEY", "api_base": "AZURE_API_BASE", "api_version": "AZURE_API_VERSION"},
    "baseten": {"api_key": "BASETEN_API_KEY"},
    "bedrock": {"aws_region_name": "AWS_REGION"},
    "cerebras": {"api_key": "CEREBRAS_API_KEY"},
    "cohere": {"api_key": "COHERE_API_KEY"},
    "deepseek": {"api_key": "DEEPSEEK_API_KEY"},
    "fireworks_ai": {"api_key": "FIREWORKS_AI_API_KEY"},
    "gemini": {"api_key": "GEMINI_API_KEY"},
    "groq": {"api_key": "GROQ_API_KEY"},
    "minimax": {"api_key": "MINIMAX_API_KEY"},
    "mistral": {"api_key": "MISTRAL_API_KEY"},
    "moonshot": {"api_key": "MOONSHOT_API_KEY"},
    "novita": {"api_key": "NOVITA_API_KEY"},
    "openai": {"api_key": "OPENAI_API_KEY"},
    "openrouter": {"api_key": "OPENROUTER_API_KEY"},
    "perplexity": {"api_key": "PERPLEXITYAI_API_KEY"},
    "together_ai": {"api_key": "TOGETHERAI_API_KEY"},
    "vertex_ai": {"vertex_project": "VERTEXAI_PROJECT", "vertex_location": "VERTEXAI_LOCATION"},
    "xai": {"api_key": "XAI_API_KEY"},
    "zai": {"api_key": "ZAI_API_KEY"},
}
# Portkey's, from the list that its gateway accepts (github.com/Portkey-AI/gateway, src/globals.ts).
PORTKEY: Final = {
    "anthropic": "anthropic",
    "aws": "bedrock",
    "azure": "azure-openai",
    "cerebras": "cerebras",
    "cloudflare": "workers-ai",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks-ai",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral-ai",
    "modal": "modal",
    "moonshotai": "moonshot",
    "novita": "novita-ai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity-ai",
    "together": "together-ai",
    "x-ai": "x-ai",
    "zai": "z-ai",
    "zhipuai": "zhipu",
}
Target = Literal["litellm", "portkey"]

# Where genai-prices names a family and the provider's API wants one of its names.
_API_NAMES: Final = {("mistral", "codestral"): "codestral-latest"}


def deployments(
    models: Iterable[str], resolve: Resolve, target: Target, names: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """model -> (the target's name of its provider, the provider's name of the model). names: a provider of the book ->
    its name there, before those that are known.

    Raises InputError for what is not in the price book, and for a provider whose name there is not known: a guess
    would send requests, and the key, to somebody else.
    """
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for model in dict.fromkeys(models):
        served = resolve(model)
        if served is None:
            problems.append(
                f"  {model} is not in the price book, so it is not known who serves it: give it a price, or an alias, "
                "in an overlay (--pricing FILE)"
            )
        elif (theirs := names.get(served.provider) or _provider(served, target)) is None:
            problems.append(
                f"  {model} is served by {served.provider}, whose name at {target} is not known: "
                f"say it with --provider {served.provider}=NAME"
            )
        else:
            found[model] = (theirs, _api_name(model, served))
    if problems:
        raise InputError("\n".join([f"cannot be exported for {target}:", *problems]))
    return found


def _provider(served: Served, target: Target) -> str | None:
    # Google sells others' models on Vertex AI only
    if served.provider == "google" and not served.model.lower().startswith(("gemini", "gemma")):
        return "vertex_ai" if target == "litellm" else "vertex-ai"
    return (LITELLM if target == "litellm" else PORTKEY).get(served.provider)


def _api_name(written: str, served: Served) -> str:
    """The book's name of the model, or a dated version of it that the table asks for."""
    plain = written.removeprefix(f"{served.provider}/")
    if plain.lower().startswith(served.model.lower()) and plain.lower() != served.model.lower():
        return plain
    return _API_NAMES.get((served.provider, served.model), served.model)
