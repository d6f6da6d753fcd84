"""What a program says that it needn't, or that it can't mean: warnings, from the tree alone. Nothing is evaluated.

A rule is a class with a stable identifier (`rule.Rule`). `walk.Walk` takes all of them through a tree once and knows what every
name is bound to; `check.check` gives the warnings of one text.
"""
