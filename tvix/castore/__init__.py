"""Blobs and directories named by their BLAKE3 digest. Knows nothing of Nix."""
