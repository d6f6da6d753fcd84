"""The builtins, one theme a module. Each module has `primitives(evaluator)`, a list; `registry` puts them together.

Arguments arrive as they are, often as thunks. `arguments` has what forces and checks them, and says in the trace which it was.
"""
