"""Ways to read a table side by side: what each takes to build, finds, and takes to search."""
