"""Renders the event stream: plain, tty, json."""
