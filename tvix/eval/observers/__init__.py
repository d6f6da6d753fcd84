"""Observers of evaluations, and what they have to say afterwards."""
