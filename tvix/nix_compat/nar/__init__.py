"""NARs, the serialisation of a file system tree that Nix hashes: reader and writer, streaming, in bounded memory.

A NAR is a sequence of strings, each a 64-bit little-endian length, the bytes, and zeros up to a multiple of eight. Every tree has
exactly one NAR, and anything else is refused. The grammar: https://nix.dev/manual/nix/2.26/protocols/nix-archive
"""
