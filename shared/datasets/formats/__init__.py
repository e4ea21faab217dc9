"""One module for each format of event recordings. Each has a function from a path to a `Recording`."""
