"""Figures and widgets, from plain arrays: this room knows no model and no data set."""
