"""A small page that shows what is in the sandbox, and the smallest PDF that opens."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from billhook_lago.sandbox.state import Json

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}"
    "h2{margin-top:2rem}.wide{overflow-x:auto}"
)
_TABLES = (
    ("customers", ("external_id", "name", "email", "currency")),
    ("subscriptions", ("external_id", "plan_code", "status", "started_at", "ending_at", "next_plan_code")),
    (
        "invoices",
        ("number", "issuing_date", "payment_status", "payment_overdue", "total_amount_cents", "currency"),
    ),
    ("payments", ("reference", "amount_cents", "amount_currency", "created_at")),
    ("credit_notes", ("number", "refund_status", "credit_status", "total_amount_cents", "currency")),
    ("webhooks", ("type", "state", "attempts", "statuses")),
)


def overview(state: Json) -> str:
    """Return the page for ``state``."""
    sections = "".join(_section(name, columns, state[name]) for name, columns in _TABLES)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    return (
        f'<!doctype html><html lang="en"><head><title>Lago sandbox</title>{head}</head><body><main>'
        f"<h1>Lago sandbox</h1><p>Its time is {escape(str(state['now']))}.</p>{sections}</main></body></html>"
    )


def pdf(title: str) -> bytes:
    """Return a PDF of one page that shows ``title`` (ASCII)."""
    text = f"BT /F1 18 Tf 60 760 Td ({title}) Tj ET".encode("ascii", "replace")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def _section(name: str, columns: Sequence[str], rows: Sequence[Json]) -> str:
    title = escape(name.replace("_", " ").capitalize())
    if not rows:
        return f"<h2>{title}</h2><p>None yet.</p>"
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "".join(_line([row.get(column) for column in columns]) for row in rows)
    return f'<h2>{title}</h2><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _line(cells: Sequence[object]) -> str:
    return (
        "<tr>" + "".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in cells) + "</tr>"
    )
