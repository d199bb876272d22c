"""Cut a checkpoint into a bundle of levels and check every part against the model."""
