"""Training: stages with gradients, batches, the loop; checkpoints and who watches a run."""
