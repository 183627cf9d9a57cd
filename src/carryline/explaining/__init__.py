"""Why a model decides as it does: each word's part in the logits."""
