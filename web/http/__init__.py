"""HTTP building blocks: requests, responses, schemas, headers. Independent of the application."""
