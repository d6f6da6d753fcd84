"""What a long-running process of ours is: the store server, the mount."""
