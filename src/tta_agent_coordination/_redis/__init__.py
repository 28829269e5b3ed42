"""Owns the conversation with Redis: the client in use, the scripts, and one typed function for each of them."""
