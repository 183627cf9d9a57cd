"""The recurrence: batches, the reference cells, the compiled kernels."""
