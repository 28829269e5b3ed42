"""The adoption tools, on small repositories that the tests write."""
