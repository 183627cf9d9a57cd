"""Training: the stages with their way back, Adam, batches, the loop; checkpoints and who watches a run."""
