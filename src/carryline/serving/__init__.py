"""Models behind HTTP: requests in batches, each answer as of its text alone; and a page."""
