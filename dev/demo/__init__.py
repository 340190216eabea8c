"""`make demo`: the whole stack with a sale that goes on and a crowd that bids."""
