"""Load tests. They speak HTTP only and work against any host."""
