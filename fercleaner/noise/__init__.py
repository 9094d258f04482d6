"""How given labels arise from true ones: injected noise, transition matrices, class priors, noise estimates."""
