"""Who sends the traffic: Locust's users, the open model beside them, and those who watch."""
