"""A corpus of thirty versions, taken through the product's own steps and searched."""
