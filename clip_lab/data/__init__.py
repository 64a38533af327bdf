"""Pictures and captions to train on and to measure with: emoji, shapes, and what people bring."""
