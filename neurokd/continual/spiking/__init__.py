"""The spiking SDMLP: made from a float one, trained in its circuit, deployed after each task."""
