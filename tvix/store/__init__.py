"""The Nix store over castore: store paths, what they point at, and what is known of them."""
