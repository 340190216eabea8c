"""HTTP in our terms: requests, answers, schemas, headers. It knows no Flask application."""
