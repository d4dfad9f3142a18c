"""Shipped to plugin authors: contract suites, fakes, the virtual clock and the sandbox kit."""
