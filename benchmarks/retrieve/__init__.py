"""The retrieval API measured: against raw SQL and others, and while things fail around it."""
