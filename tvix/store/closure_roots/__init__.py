"""Signed closure roots: who vouches for what a store path and all that it refers to look like."""
