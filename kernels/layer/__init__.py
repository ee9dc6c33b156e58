"""The parts of `KSLinear`: factors, prepared products, autograd, the choice of an algorithm, projection."""
