"""From what customers and speech synthesis deliver to what Asterisk plays at the lowest cost: G.711 u-law,
8 kHz, mono, the format in which every leg inside the platform speaks. Pure functions over bytes.
"""
