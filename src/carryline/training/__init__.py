"""Training: the model under autograd, batches, the loop; checkpoints and who watches a run."""
