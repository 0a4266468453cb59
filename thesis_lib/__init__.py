"""Executable companion of *Salt Segmentation of Geophysical Images through Explainable CNNs*."""

__version__ = "0.1.0"
