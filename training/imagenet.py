"""The usual normalisation of networks trained on ImageNet: torchvision's convention."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""For red, green and blue, for pixels in 0 to 1."""
