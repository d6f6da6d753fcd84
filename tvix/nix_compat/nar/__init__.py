"""The Nix archive format (NAR): one canonical serialisation of a file system tree."""
