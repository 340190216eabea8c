"""The books: what the clients saw, what the servers stored, and whether the two agree."""
