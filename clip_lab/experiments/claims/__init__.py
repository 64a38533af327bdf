"""One module for each claim about CLIP."""
