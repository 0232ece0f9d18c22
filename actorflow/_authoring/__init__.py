"""From what an author writes to a `Definition`: the only place that looks at the hints of user code."""
