"""A content-addressed Nix store, lazily mounted, as a library: it reads no argv and no environment and prints nothing."""

VERSION = "0.1.0"
