#!/bin/sh
# Says what a target is about to do, before it does the first thing.
cat >&2 <<'TEXT'
tvix demo, all of it under this directory, about 3 minutes the first time and 15 seconds later:
  1. install missing Debian packages with apt-get (as root, or with sudo: the only step that needs either)
  2. make a virtual environment (.venv) with the locked Python packages
  3. freeze the program and build the initrd (dist), and download Debian's kernel and packages (.cache)
  4. build a closure of real programs with stock Nix: bash, coreutils, hello, python3
  5. serve it from a store on this machine's loopback, and boot a virtual machine that runs it from there
TEXT
