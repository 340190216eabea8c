"""Made-up bids and boards to measure on."""
