"""Models behind HTTP: requests gathered into batches, answers as of each text alone; and the page."""
