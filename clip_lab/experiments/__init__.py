"""Claims about CLIP, each measured in front of the reader: `clip-lab experiment list`."""
