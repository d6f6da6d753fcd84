"""The parts of `tvix repl`: what it knows (`session`), what it can be told (`commands`), and where lines come from."""
