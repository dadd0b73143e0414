"""Prices: what a model charges, and what requests and cells cost."""

from __future__ import annotations

from routecost.prices.book import Book, freeze, read_prices
from routecost.prices.check import Check, Named, check
from routecost.prices.listing import (
    Listed,
    ModelPrices,
    RateRow,
    TierPrices,
    list_models,
    list_tiers,
    show_model,
)
from routecost.prices.models import CAPABILITIES, Model, ModelRef
from routecost.prices.pricing import COST_KINDS, NOT_BILLED, REASONS, UNKNOWN_MODEL, price, price_kinds, rates, rates_at

__all__ = [
    "CAPABILITIES",
    "COST_KINDS",
    "NOT_BILLED",
    "REASONS",
    "UNKNOWN_MODEL",
    "Book",
    "Check",
    "Listed",
    "Model",
    "ModelPrices",
    "ModelRef",
    "Named",
    "RateRow",
    "TierPrices",
    "check",
    "freeze",
    "list_models",
    "list_tiers",
    "price",
    "price_kinds",
    "rates",
    "rates_at",
    "read_prices",
    "show_model",
]
