"""Encode and decode: bundle, bitstream, engines, codec. Needs numpy and one engine, never torch."""
