"""A page that says how good a model is, and where it is not."""
