"""Ways of giving the tree to a kernel. `fuse` speaks the FUSE protocol over /dev/fuse."""
