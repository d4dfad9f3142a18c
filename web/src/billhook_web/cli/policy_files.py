"""Policies as files: TOML with an ``[access]`` table (or its content alone), or the same as JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import click


def read_document(file: Path) -> dict[str, Any]:
    """Return a policy document; the command ends when the file is none."""
    try:
        text = file.read_text(encoding="utf-8")
        data = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as exc:
        raise click.ClickException(f"{file} cannot be read: {exc}") from exc
    if not isinstance(data, dict):
        raise click.ClickException(f"{file} must hold one object.")
    inner = data.get("access", data)
    return inner if isinstance(inner, dict) else data
