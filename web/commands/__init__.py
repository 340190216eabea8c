"""The commands of `flask --app web`. They handle arguments and output; the rules live in core."""
