"""The view of one session, in Chromium."""
