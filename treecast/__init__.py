"""The roof: the command line. It reads arguments and environment, wires the rooms, and sets the exit code."""
