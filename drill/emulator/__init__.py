"""The embedded AWS of the drill: its process, its differences from AWS, and deployments into it."""
