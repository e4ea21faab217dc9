"""The testbed's report, from a committed record to a Markdown page and one HTML file that needs no network."""
