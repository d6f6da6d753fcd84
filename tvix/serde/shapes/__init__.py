"""The shapes: one theme a file. `interface` says what they can do, `tvix.serde.types` which type has which."""
