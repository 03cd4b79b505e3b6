"""The version of the package; the engine that is loaded must come from the same one."""

__version__ = "0.1.0"
