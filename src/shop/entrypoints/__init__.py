"""The ways in: HTTP and the command line, and what wires them to the domain."""
