"""Grading: the checks of the course run over notebooks that were handed in.

A notebook's code is never run in this process. Its definitions are, in a process of their own with
limits on time and memory; there the functions wait to be called. The checks stay here, call them
over a pipe as if they were local, gradients included, and get plain values back. So nothing in a
notebook can change a check, and nothing in it can hurt more than its own row of the table.
"""
