"""JSON, XML and TOML, as C++ Nix reads and writes them, byte for byte and error for error."""
