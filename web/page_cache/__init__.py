"""Pages that many ask for at once, kept in each process for a moment."""
