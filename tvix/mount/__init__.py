"""A store as a read-only file system: one tree that knows node numbers, attributes and contents, and the engines that serve it."""
