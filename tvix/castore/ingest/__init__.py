"""Ways into castore: from a directory tree on disk, and from a NAR stream."""
