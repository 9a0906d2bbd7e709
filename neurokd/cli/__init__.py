"""The command line: one file a command, each with a function `run` that returns the exit status."""
