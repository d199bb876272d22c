"""Training of the slimmable model: data, model, loss, loop and structure learning."""
