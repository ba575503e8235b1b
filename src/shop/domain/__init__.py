"""The rules of the shop; imports the standard library and nothing else."""
