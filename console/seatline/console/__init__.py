"""The command line: for operators, on top of all other floors. ``main`` is where a call begins."""
