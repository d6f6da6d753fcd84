"""Ways to hand a tree to the kernel."""
