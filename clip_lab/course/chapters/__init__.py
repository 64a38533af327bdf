"""The checks, hints and model answers of each chapter, a module a chapter."""
