"""What a drill runs in: the stack, the sale, and the points where a process can be held."""
