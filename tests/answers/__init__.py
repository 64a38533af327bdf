"""Answers to the course's exercises, a module a chapter, for test_course.py.

Each has `RIGHT` (exercise -> right answers, written in different ways) and `WRONG` (exercise, a
plausible wrong answer, words that its diagnosis must hold), at least five for each exercise.
"""
