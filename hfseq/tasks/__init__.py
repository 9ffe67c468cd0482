"""A folder for each kind of task."""
