"""Index generations measured: what a build costs, what it does to searches, what they find."""
