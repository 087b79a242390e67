"""What is decided and planned: pure values and functions, standard library only."""
