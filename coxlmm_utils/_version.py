"""The version, in a module of its own so that no file imports the package's top."""

__version__ = "0.1.0"
