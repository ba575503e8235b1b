"""The use cases: one class per verb, called with keyword arguments."""
