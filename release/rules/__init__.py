"""Pure rules: facts in, problems out. Nothing here starts a program, asks a clock or reaches a network."""
