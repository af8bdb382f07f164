"""Training of the models that come with the program, and of those that users make. Torch inside functions."""
