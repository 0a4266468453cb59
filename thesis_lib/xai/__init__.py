"""What networks see: activation maximization, network inversion, class activation maps."""
