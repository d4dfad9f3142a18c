"""The measurements run and say something; how fast is not asked here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("script", ["bench_ingest", "bench_latency", "bench_inbox_size"])
def test_a_quick_round_prints_a_table_and_writes_nothing(script: str) -> None:
    results = ROOT / "benchmarks" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.md")}
    command = [sys.executable, "-m", f"benchmarks.{script}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    assert "cores" in done.stdout
    assert re.search(r"^\| .*\d", done.stdout, re.MULTILINE)
    assert {path: path.stat().st_mtime_ns for path in results.glob("*.md")} == before
