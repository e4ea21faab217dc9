"""Checks the prose of pages, help texts and error messages: `make lint`. Decision 30 says why these checks."""
