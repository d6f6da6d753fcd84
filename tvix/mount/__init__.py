"""One read-only tree that the kernel reads lazily."""
