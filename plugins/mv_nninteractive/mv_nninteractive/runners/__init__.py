"""One file per runner, with a class ``Runner``: a task made with the folder of its model."""
