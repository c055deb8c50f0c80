"""Which binary codes keep the neighbours of which kinds of vectors."""
