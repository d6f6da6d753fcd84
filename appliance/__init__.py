"""The program: the only place that knows argv, the environment, signals, terminals and exit codes."""
