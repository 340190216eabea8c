"""Load generators: wrk where it is installed, or sockets of our own."""
