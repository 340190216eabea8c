"""The commands of `flask --app web`. They talk to a terminal, and leave rules to core."""
