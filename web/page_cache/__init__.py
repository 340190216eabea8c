"""Per-process caches of pages that many clients request at once."""
