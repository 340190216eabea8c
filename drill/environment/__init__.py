"""The environment of a drill: the stack, the session, and locks that hold a process."""
