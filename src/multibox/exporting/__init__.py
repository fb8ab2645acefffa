"""A model -> a file that another runtime opens, checked against torch before it is left behind."""
