"""What can be wrong with a pattern. Who knows the pattern's text turns these into errors of the evaluator.

This module isn't compiled: compiled classes can't be exceptions.
"""

from __future__ import annotations


class InvalidPattern(Exception):
    """Not a regular expression."""


class PatternTooLarge(Exception):
    """A regular expression with more states than `std::regex` makes."""


class TooManySteps(Exception):
    """A match that takes longer than any reasonable one."""
