"""LA-Net: label distributions from neighbors in expression and landmark space."""
