"""The compiled form of a program: one class for each shape of expression."""
