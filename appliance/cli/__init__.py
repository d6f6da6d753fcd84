"""One module a verb; each has `configure(parser)` and `run(arguments)`."""
