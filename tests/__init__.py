"""What crosses packages: the workspace, the house rules, whole flows, and the servers that tests run against."""
