"""Owns the conversation with Redis: the client, the scripts, and one typed function for each of them."""
