"""Directory services: `interface` says what one can do; each other module is a back end or a decorator."""
