"""Public test doubles and conformance suites; nothing but tests imports this."""
