"""The version of this code; pyproject.toml reads it from here. Images hold the code, but no installed package."""

VERSION = "0.2.0"
