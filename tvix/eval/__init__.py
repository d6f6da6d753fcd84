"""The Nix language: source → scanner → parser → resolver → compiler → nodes → value.

The core does no I/O: files, directories and the environment come through `io.EvalIO`, and everything that a program can call is
a builtin that its evaluator was given. The package is typed Python that mypyc compiles as one group; the same sources run as they
are, slower, and `uncompiled` sees to it that old compiled modules don't stand for newer sources. Start reading at `evaluator`, then
`values` and `nodes`.
"""

from tvix.eval import uncompiled

uncompiled.distrust_old_modules()
