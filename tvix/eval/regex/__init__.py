"""POSIX extended regular expressions as libstdc++'s `std::regex` takes and matches them, since that is what C++ Nix is built with.

`parse` reads a pattern into a `tree` (`brackets` has the part in brackets, `collating` the names in it); `program` and `machine`
match it in bounded time; `translate` makes a pattern of Python's `re` from it, for those that `ambiguity` finds harmless. `pattern`
chooses.
"""
