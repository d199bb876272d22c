"""Measure a bundle: latency, MACs, memory, rate-distortion, coder speed; reports and plots."""
