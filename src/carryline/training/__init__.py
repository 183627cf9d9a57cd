"""Training: stages with their way back, Adam, batches, the loop; checkpoints, who watches a run."""
