"""The drill: the whole story on an embedded AWS."""
