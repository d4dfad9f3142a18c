"""The host: receives webhooks, keeps one ledger, carries out what has to happen next."""
