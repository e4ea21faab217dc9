"""Starts training from the weights of ordinary networks (a state dict, an ONNX file)."""
