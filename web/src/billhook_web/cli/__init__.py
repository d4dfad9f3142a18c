"""The ``billhook`` command. What a command needs is imported when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import click

from billhook_web.cli.access import access
from billhook_web.cli.audit import audit
from billhook_web.cli.connections import connections
from billhook_web.cli.customers import customers
from billhook_web.cli.database import db
from billhook_web.cli.demo import demo
from billhook_web.cli.doctor import doctor
from billhook_web.cli.effects import effects
from billhook_web.cli.endpoints import endpoints
from billhook_web.cli.events import events
from billhook_web.cli.keys import keys
from billhook_web.cli.leases import leases
from billhook_web.cli.plugins import plugins
from billhook_web.cli.prune import prune
from billhook_web.cli.rebuild import rebuild
from billhook_web.cli.reconcile import gaps, reconcile
from billhook_web.cli.sandbox import sandbox
from billhook_web.cli.secrets import secrets
from billhook_web.cli.serving import serve, web, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="billhook-web", prog_name="billhook")
def main() -> None:
    """Billing integrations as plugins: receives webhooks, keeps one ledger, carries out what has to happen next.

    Settings come from the environment: BILLHOOK_CONNECTIONS says what is connected, and each connection NAME reads
    NAME_FIELD. 'billhook demo' needs none.
    """


for command in (
    serve,
    web,
    worker,
    demo,
    doctor,
    db,
    plugins,
    connections,
    events,
    effects,
    endpoints,
    access,
    reconcile,
    gaps,
    keys,
    secrets,
    leases,
    audit,
    rebuild,
    prune,
    customers,
    sandbox,
):
    main.add_command(command)
