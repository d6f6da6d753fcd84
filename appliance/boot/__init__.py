"""PID 1 of an initrd."""
