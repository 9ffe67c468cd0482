"""Text classifiers of every kind on one data set."""
