"""The engine in pure Python: the same handles as those of the compiled one, over selectors.

``wawo/_core/__init__.py`` takes from here Connection, Endpoint, Threads, after_fork_child, backends, broadcast,
disconnect, live, load, setup_callbacks and setup_connections, each with the type in the stubs of the compiled modules.
"""
