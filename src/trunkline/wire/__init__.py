"""What was said on the wire: request heads, paths, header names, sub-protocols and refusals. Syntax, no opinion."""
