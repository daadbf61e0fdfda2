"""What a period of a trail comes to, for a review: each figure with the query that gives it."""
