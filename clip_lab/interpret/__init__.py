"""Looking inside: what each token attends to, and where in a picture a text is."""
