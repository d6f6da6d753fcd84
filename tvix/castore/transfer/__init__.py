"""The extension protocol of castore: its messages, and the client that has many things on their way at once."""
