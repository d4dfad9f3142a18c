"""Everything breaks while money moves: ``make chaos``. Loopback only; ends by itself and ends only what it started."""
