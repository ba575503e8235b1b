"""JSON for clients: a controller for each noun, with its bodies beside it."""
