"""Measurements of wawo beside raw C and its rivals; see README.md."""
