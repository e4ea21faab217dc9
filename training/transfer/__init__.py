"""Weights of ordinary networks (a state dict, an ONNX file) as the beginning of ours."""
