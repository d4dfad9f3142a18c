"""Everything that speaks SQL. Functions take a transaction and return values; they decide nothing."""
