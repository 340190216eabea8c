"""The traffic generators: Locust users, the open model, and watchers."""
