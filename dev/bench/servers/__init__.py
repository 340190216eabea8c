"""What is measured: the stack, its variants, and the yardsticks."""
