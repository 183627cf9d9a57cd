"""All that needs torch: the model under autograd, batches, checkpoints, the loop."""
