"""What a model call costs: list prices in US dollars for one million tokens, with the day they were read.

The one place to edit when a provider changes its prices; a model that is not here has no known cost (None, never 0).
What is spent in a day takes such a call for CALL_USD, unless it was the stand-in's.
Names are matched exactly, as the API reports them in its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

#: US dollars that a call still to come is taken to cost, and one that was made with a model without a known price.
CALL_USD = 0.015


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for 1,000,000 tokens in and out, as published on `read`."""

    tokens_in: Decimal
    tokens_out: Decimal
    read: date


def _price(tokens_in: str, tokens_out: str, read: date = date(2026, 5, 1)) -> Price:
    return Price(Decimal(tokens_in), Decimal(tokens_out), read)


#: Source: the price page as public tables quoted it in May 2026 (standard tier, no batch or cached-input discount).
PRICES: dict[str, Price] = {
    "gpt-4o": _price("2.50", "10.00"),
    "gpt-4o-2024-05-13": _price("5.00", "15.00"),
    "gpt-4o-2024-08-06": _price("2.50", "10.00"),
    "gpt-4o-2024-11-20": _price("2.50", "10.00"),
    "gpt-4o-mini": _price("0.15", "0.60"),
    "gpt-4o-mini-2024-07-18": _price("0.15", "0.60"),
    "gpt-4.1": _price("2.00", "8.00"),
    "gpt-4.1-2025-04-14": _price("2.00", "8.00"),
    "gpt-4.1-mini": _price("0.40", "1.60"),
    "gpt-4.1-mini-2025-04-14": _price("0.40", "1.60"),
    "text-embedding-3-small": _price("0.02", "0"),
}


def cost_usd(model: str, tokens_in: int, tokens_out: int) -> Decimal | None:
    """What a call cost, to a millionth of a dollar; None where the table does not know `model`."""
    price = PRICES.get(model)
    if price is None:
        return None
    cost = (price.tokens_in * tokens_in + price.tokens_out * tokens_out) / 1_000_000
    return cost.quantize(Decimal("0.000001"))
