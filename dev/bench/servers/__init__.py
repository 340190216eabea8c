"""The measured stack, its variants, and the reference applications."""
