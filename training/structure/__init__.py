"""Structure of a level: which widths (inter-node) and which group plan (intra-node)."""
