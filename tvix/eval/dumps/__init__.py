"""What the resolver and the compiler made of a program, for people to read."""
