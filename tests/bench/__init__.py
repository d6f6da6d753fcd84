"""The figures of the README: each a ratio to a named peer, both run in turn in one session."""
