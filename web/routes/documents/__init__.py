"""The API documents, generated from the declared routes and schemas."""
