"""The `shop` command: a module for each group of subcommands, over the same use cases as HTTP."""
