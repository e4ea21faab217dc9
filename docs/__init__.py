"""The documentation: pages in Markdown, what generates the reference, and what checks the prose."""
