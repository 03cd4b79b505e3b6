"""The engine in pure Python: the same handles as those of the compiled one, over selectors."""
