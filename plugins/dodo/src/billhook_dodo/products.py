"""The products Dodo wants behind every amount: one per currency, found, or created on first use.

Dodo charges products only. An invoice is one cart line of a pay-what-you-want product with the invoice's amount; a
mandate is a subscription to a recurring one. Dodo *ignores the amount without a word* when a product is not
pay-what-you-want and would charge its catalogue price, so a product is read before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billhook.clock import Clock
from billhook.errors import NotFound, Refused
from billhook.hookspecs import ConnectionState

from .client import DodoApi, readable
from .config import DodoConfig
from .payloads import Json, maybe_record, text

MINIMUMS: Final = {
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CLP": 1000,
    "EUR": 50,
    "GBP": 30,
    "HUF": 17500,
    "INR": 500,
    "JPY": 50,
    "MXN": 1000,
    "NOK": 300,
    "PLN": 200,
    "SEK": 300,
    "SGD": 50,
}
"""The smallest amount Dodo charges, in minor units; for a currency that is not here it publishes none."""

TRUST: Final = timedelta(hours=1)
"""How long a product that was read is taken to be as it was."""

_LONGEST_TERM = {
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
    "subscription_period_count": 20,  # years: the longest Dodo allows
    "subscription_period_interval": "Year",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a product is for: paying ``invoice`` amounts or standing behind a ``mandate``."""

    word: str
    title: str
    price_type: str

    def fits(self, price: Json) -> bool:
        """Say whether a price object is of this kind."""
        if price.get("type") != self.price_type:
            return False
        return self.word == "mandate" or price.get("pay_what_you_want") is True


INVOICE = _Kind("invoice", "Invoice payment", "one_time_price")
MANDATE = _Kind("mandate", "Automatic payments", "recurring_price")


class Products:
    """Finds, creates and checks the products of one connection. Safe to share between threads.

    Two processes may create one at the same time; what the first remembered is used by both, the other product stays
    behind unused.
    """

    def __init__(
        self, api: DodoApi, *, config: DodoConfig, state: ConnectionState, clock: Clock, connection: str
    ) -> None:
        self._api = api
        self._config = config
        self._state = state
        self._clock = clock
        self._connection = connection
        self._checked: dict[str, datetime] = {}

    def for_invoices(self, currency: str) -> str:
        """Return the id of the pay-what-you-want product for ``currency``, checked within the last hour.

        :raises Refused: ``product_setup``: the product would charge something else; the message says what to change.
        """
        configured = self._config.products.get(currency)
        product = configured or self._own(INVOICE, currency)
        self._ensure_fits(product, currency)
        return product

    def for_mandates(self, currency: str) -> str:
        """Return the id of the recurring product behind mandates in ``currency``."""
        return self._own(MANDATE, currency)

    def problems(self, product: str, currency: str) -> str | None:
        """Read a product and say why it cannot be used for invoices in ``currency``; None: it can.

        :raises NotFound: there is no such product in this mode.
        """
        read = self._api.get("products", product)
        with readable(f"product {product}"):
            price = maybe_record(read, "price")
        if not INVOICE.fits(price):
            return (
                "it is not a one-time price with 'pay what you want' on, so Dodo would charge its own price"
            )
        if price.get("currency") != currency:
            return f"its price is in {price.get('currency')}, not {currency}"
        if self._config.tax_mode != "byop" and (price.get("tax_inclusive") is True) != self._tax_inclusive:
            wanted = "on" if self._tax_inclusive else "off"
            return f"tax mode {self._config.tax_mode} needs 'tax inclusive' {wanted} for its price"
        return None

    @property
    def _tax_inclusive(self) -> bool:
        # On byop routes Dodo knows no tax. Where a payment takes a Dodo route after all, inclusive keeps the total.
        return self._config.tax_mode != "exclusive"

    @property
    def _tax_word(self) -> str:
        return "inclusive" if self._tax_inclusive else "exclusive"

    def _ensure_fits(self, product: str, currency: str) -> None:
        now = self._clock.now()
        checked_at = self._checked.get(product)
        if checked_at is not None and now - checked_at < TRUST:
            return
        try:
            problem = self.problems(product, currency)
        except NotFound:
            return  # the checkout itself refuses a product that is not there, and says so better
        if problem is not None:
            raise Refused(
                f"Dodo product {product} cannot be used for {currency} invoices: {problem}. Change it in the Dodo "
                "dashboard, or name another one in the connection's PRODUCTS",
                code="product_setup",
                field="products",
            )
        self._checked[product] = now

    def _own(self, kind: _Kind, currency: str) -> str:
        """Return the product remembered, else one of ours that is there, else a new one."""
        key = f"{'product' if kind is INVOICE else kind.word}/{currency}/{self._tax_word}"
        remembered = self._state.get(key)
        if remembered is not None:
            return remembered
        return self._state.put(key, self._listed(kind, currency) or self._created(kind, currency))

    def _listed(self, kind: _Kind, currency: str) -> str | None:
        recurring = "true" if kind is MANDATE else "false"
        rows = self._api.pages("products", params={"archived": "false", "recurring": recurring})
        with readable("the list of products"):
            found = (text(row, "product_id") for row in rows if self._is_ours(row, kind, currency))
            return next(found, None)

    def _is_ours(self, row: Json, kind: _Kind, currency: str) -> bool:
        price = maybe_record(row, "price_detail")
        same_tax = (price.get("tax_inclusive") is True) == self._tax_inclusive
        named = row.get("name") == _name(kind, currency)
        return named and same_tax and price.get("currency") == currency and kind.fits(price)

    def _created(self, kind: _Kind, currency: str) -> str:
        created = self._api.post(
            "products",
            json={
                "name": _name(kind, currency),
                "tax_category": self._config.tax_category,
                "price": self._price(kind, currency),
                "metadata": {"billhook_product": kind.word, "billhook_connection": self._connection},
            },
        )
        with readable("the created product"):
            return text(created, "product_id")

    def _price(self, kind: _Kind, currency: str) -> dict[str, object]:
        # Of a pay-what-you-want price the amount is the least that may be paid. A mandate's is never charged.
        price: dict[str, object] = {
            "type": kind.price_type,
            "currency": currency,
            "price": MINIMUMS.get(currency, 1),
            "discount": 0,
            "purchasing_power_parity": False,
            "tax_inclusive": self._tax_inclusive,
        }
        return price | (_LONGEST_TERM if kind is MANDATE else {"pay_what_you_want": True})


def _name(kind: _Kind, currency: str) -> str:
    """Return the product's name; customers read it on the payment page."""
    return f"{kind.title} ({currency})"
