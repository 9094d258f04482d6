"""From a dataset to a refined set: the one place that knows the order of the steps."""
