"""What it costs a caller to verify a lease offline: microseconds, with the signature checked and with it remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

from benchmarks import report
from billhook.lease import LONGEST, Lease, LeaseVerifier, Subject, key_id, public_of, sign_lease

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SEED = bytes(range(32))


def tokens(count: int) -> list[str]:
    """Return so many different leases."""
    return [
        sign_lease(
            Lease(
                issuer="https://billing.example.com", kind=Subject.CUSTOMER, subject=f"cus_{number}",
                issued_at=NOW, expires_at=NOW + LONGEST, version=number, state="active", standing="clear",
                access="full", block_changes=False, subscriptions={"acme:s1": ("active", "full")},
            ),
            seed=SEED,
        )
        for number in range(count)
    ]  # fmt: skip


def microseconds(do: Callable[[str], object], given: Sequence[str]) -> float:
    """Return what one call takes of a processor, on average; what else runs here does not count."""
    started = time.process_time()
    for each in given:
        do(each)
    return (time.process_time() - started) / len(given) * 1e6


def measure(*, rounds: int, count: int) -> dict[str, list[float]]:
    """Return microseconds per lease for each round: verified, and verified again."""
    public = public_of(SEED)
    measured: dict[str, list[float]] = {"verified, not seen before": [], "verified again": []}
    for _ in range(rounds):
        verifier = LeaseVerifier({key_id(public): public}, remembered=count)
        given = tokens(count)
        verify = partial(verifier.verify, now=NOW + timedelta(seconds=1))
        for name in measured:  # the second time over, every token is remembered
            measured[name].append(microseconds(verify, given))
    return measured


def main() -> None:
    """Measure and print."""
    chosen = report.options(__doc__ or "")
    measured = measure(rounds=chosen.rounds, count=100 if chosen.quick else 5000)
    rows = [
        (name, f"{median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})")
        for name, values in measured.items()
    ]
    report.publish(
        "A lease verified offline", report.table(("lease", "microseconds of CPU"), rows), quick=chosen.quick
    )


if __name__ == "__main__":
    main()
