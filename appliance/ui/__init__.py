"""Renders the event stream on stderr: plain lines, bars on a terminal, JSON lines."""
