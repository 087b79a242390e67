"""What a person or the Makefile runs."""
