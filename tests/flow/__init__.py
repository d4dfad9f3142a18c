"""The whole flow, host and sandboxes together: the same stories on every database and broker."""
