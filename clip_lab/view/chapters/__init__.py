"""Figures of the course, a module a chapter."""
