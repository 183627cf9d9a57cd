"""The recurrence, without torch: batches, the reference cells, the compiled kernels."""
