"""Nix's formats, pure: no I/O, no async, no logging."""
