"""Everything that holds learnt parameters: backbones, extras, pyramids, heads, and the model that joins them."""
