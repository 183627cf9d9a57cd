"""Text to ids, files to labelled text."""
