"""The differential test: the same scripts of operations over two engines, and what each of them told.

``scripts`` makes them from a seed, ``worker`` is the process that runs them over one engine, ``world``, ``told``,
``wire`` and ``reactions`` are what it runs them in, ``pairs`` compares and makes a script that disagrees small.
"""
