"""``/portal/payment-methods``: what the customer pays with; adding, choosing and removing it.

Adding has three steps. The page shows the provider's form. When the customer has filled it in, the page asks for the
set-up's secret (``begin``); it goes to the page's script and nowhere else. Whatever the script then says, the page after it
(``added``) asks the provider how the set-up stands: a way to the bank and back ends there too.
"""

from __future__ import annotations

import hashlib
from typing import Final

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for

from billhook.errors import Conflict, NotFound, ProviderError, Refused, Temporary
from billhook.methods import PageKit, PageState, Setup
from billhook.model import Ref
from billhook_web.pages import protect, words
from billhook_web.pages.method_words import Named, decline_reason, named
from billhook_web.pages.places import METHODS
from billhook_web.portal import standing
from billhook_web.portal.visiting import show, visit
from billhook_web.runtime import Runtime
from billhook_web.services.wallet import Held, Wallet, Wish

_DID: Final = frozenset({"default", "removed"})


def add_methods(portal: Blueprint, runtime: Runtime) -> None:
    """Add the list, choosing and removing, then adding."""
    _add_list(portal, runtime)
    _add_removing(portal, runtime)
    _add_adding(portal, runtime)
    _add_asking(portal, runtime)


def _add_list(portal: Blueprint, runtime: Runtime) -> None:
    @portal.get("/payment-methods")
    def methods() -> Response:
        mine, now = visit().mine, runtime.clock.now()
        wallet = runtime.methods.wallet(mine.customer_id)
        debts = [standing.owed(invoice, now=now) for invoice in mine.owed()]
        did = request.args.get("did")
        return show(
            "portal/payment-methods.html",
            place=METHODS,
            rows=[(held, _named(held)) for held in wallet.held],
            silent=bool(wallet.silent),
            offered=runtime.methods.offered(),
            banner=standing.banner(debts, mine.access(), words()),
            did=did if did in _DID else None,
        )

    @portal.post("/payment-methods/<ref>/default")
    def choose_method(ref: str) -> Response:
        runtime.methods.choose(visit().mine.customer_id, ref)
        return _back("default")


def _add_removing(portal: Blueprint, runtime: Runtime) -> None:
    @portal.get("/payment-methods/<ref>/remove")
    def ask_to_remove(ref: str) -> Response:
        return _ask_to_remove(runtime, ref)

    @portal.post("/payment-methods/<ref>/remove")
    def remove_method(ref: str) -> Response:
        try:
            runtime.methods.remove(visit().mine.customer_id, ref)
        except Conflict:  # it has to stay by now: the page says why
            return _ask_to_remove(runtime, ref, status=409)
        return _back("removed")


def _ask_to_remove(runtime: Runtime, ref: str, *, status: int = 200) -> Response:
    wallet = runtime.methods.wallet(visit().mine.customer_id)
    if ref.partition(":")[0] in wallet.silent:
        raise Temporary("the provider does not answer")
    held = wallet.get(ref)
    default = next((each for each in wallet.held if each.saved.default), None)
    name, other = _named(held), _named(default) if default else None
    if request.headers.get("HX-Request"):
        inside = render_template(
            "portal/payment-method-question.html",
            dialog=True, csrf=visit().session.csrf, held=held, name=name, default=default, default_name=other,
        )  # fmt: skip
        return protect(make_response(inside, status))
    return show(
        "portal/payment-method-remove.html",
        place=METHODS, status=status, held=held, name=name, default=default, default_name=other,
    )  # fmt: skip


def _add_adding(portal: Blueprint, runtime: Runtime) -> None:
    @portal.get("/payment-methods/new")
    def new_method() -> Response:
        return _form_page(runtime)

    @portal.get("/payment-methods/added/<connection>/<setup>")
    def added_method(connection: str, setup: str) -> Response:
        if request.args:  # providers add to the way back, secrets among it: that is dropped at once
            clean = url_for("portal.added_method", connection=connection, setup=setup)
            return make_response(redirect(clean, 303))
        return _added(runtime, connection, setup)


def _form_page(runtime: Runtime) -> Response:
    connection = runtime.methods.offered()
    if connection is None:
        raise NotFound("No payment method can be kept here.")
    mine = visit().mine
    wallet = runtime.methods.wallet(mine.customer_id)
    if connection in wallet.silent:
        raise Temporary(f"{connection} does not answer")
    kit = runtime.methods.kit(connection)
    replaced = _replaced(wallet, connection)
    debts = [standing.owed(each, now=runtime.clock.now()) for each in mine.owed()]
    about = _about_form(kit, connection, wallet)
    return show(
        "portal/payment-method-add.html",
        place=METHODS,
        sources=kit.sources,
        scripts=kit.scripts,
        connection=connection,
        about=about,
        first=not [each for each in wallet.held if each.ref.connection == connection],
        replaced=_named(replaced) if replaced else None,
        replaces=str(replaced.ref) if replaced else "",
        debts=[each for each in debts if each.status == "failed"],
    )


def _about_form(kit: PageKit, connection: str, wallet: Wallet) -> dict[str, object]:
    """Return what the page's script is told. Nothing of it is secret."""
    return {
        "settings": dict(kit.settings),
        "mode": "setup",
        "currency": visit().customer.currency or "EUR",
        "locale": words().tag,
        "form": _form(wallet),
        "begin": url_for("portal.begin_method", connection=connection),
    }


def _added(runtime: Runtime, connection: str, setup: str) -> Response:
    done = runtime.methods.finish(visit().mine.customer_id, connection, setup)
    kit = runtime.methods.kit(connection)
    method = done.setup.method
    waits = done.setup.state is PageState.OPEN and done.setup.decline is None
    about = {
        "settings": dict(kit.settings),
        "mode": "setup",
        "resume": url_for("portal.resume_method", connection=connection, setup=setup),
    }
    return show(
        "portal/payment-method-added.html",
        place=METHODS,
        sources=kit.sources if waits else None,
        scripts=kit.scripts,
        connection=connection,
        about=about,
        state=done.setup.state.value,
        waits=waits,
        settled=done.settled,
        name=named(method.method, words()) if method else None,
        reason=decline_reason(done.setup.decline, words()),
    )


def _add_asking(portal: Blueprint, runtime: Runtime) -> None:
    """What the page's script asks for. Each answer is JSON; a problem is a sentence for the customer."""

    @portal.post("/payment-methods/begin/<connection>")
    def begin_method(connection: str) -> Response:
        try:
            form, wish = request.form.get("form", "")[:64], _wish()
            begun = runtime.methods.begin(visit().mine.customer_id, connection, form=form, wish=wish)
        except (ProviderError, Refused) as exc:
            return _problem(exc)
        after = url_for("portal.added_method", connection=connection, setup=begun.id)
        state = url_for("portal.look_at_method", connection=connection, setup=begun.id)
        if begun.state is not PageState.OPEN:
            return protect(jsonify(url=after))
        return protect(jsonify(clientSecret=begun.client_secret, after=after, state=state))

    @portal.post("/payment-methods/resume/<connection>/<setup>")
    def resume_method(connection: str, setup: str) -> Response:
        return _say(runtime, connection, setup, secret=True)

    @portal.post("/payment-methods/look/<connection>/<setup>")
    def look_at_method(connection: str, setup: str) -> Response:
        return _say(runtime, connection, setup, secret=False)


def _say(runtime: Runtime, connection: str, setup: str, *, secret: bool) -> Response:
    try:
        found: Setup = runtime.methods.look(visit().mine.customer_id, connection, setup)
    except NotFound:
        raise
    except (ProviderError, Refused) as exc:
        return _problem(exc)
    answer = {"state": found.state.value, "message": decline_reason(found.decline, words()) or None}
    return protect(jsonify({**answer, "clientSecret": found.client_secret} if secret else answer))


def _problem(exc: Exception) -> Response:
    if isinstance(exc, NotFound):
        raise exc
    if isinstance(exc, ProviderError):
        text = words().say(
            "Our payment provider isn’t answering. Nothing was saved; please try again in a few minutes."
        )
        return protect(make_response(jsonify(message=text), 503))
    text = words().say("Our payment provider doesn’t take a new payment method just now. Nothing was saved.")
    return protect(make_response(jsonify(message=text), 409))


def _form(wallet: Wallet) -> str:
    """Name the form by what is kept when it is shown: two tabs, a reload and the back button are the same form."""
    kept = ",".join(sorted(str(each.ref) for each in wallet.held))
    return hashlib.sha256(kept.encode()).hexdigest()[:32]


def _replaced(wallet: Wallet, connection: str) -> Held | None:
    wanted = request.args.get("replaces", "")
    if not wanted:
        return None
    held = wallet.get(wanted)
    return held if held.ref.connection == connection else None


def _named(held: Held) -> Named:
    return named(held.saved.method, words())


def _wish() -> Wish:
    """Read what the customer wants of the method, from the form that is being sent."""
    return Wish(
        default=request.form.get("default") == "1", replaces=_ref(request.form.get("replaces", "")[:255])
    )


def _ref(text: str) -> Ref | None:
    connection, colon, name = text.partition(":")
    return Ref(connection, name) if connection and colon and name else None


def _back(did: str) -> Response:
    return make_response(redirect(url_for("portal.methods", did=did), 303))
