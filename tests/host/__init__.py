"""The host on real databases: stores, leases, ordering."""
