"""A fleet's configurations on the command line: reading them, and what they come to as text, Markdown, HTML or data."""
