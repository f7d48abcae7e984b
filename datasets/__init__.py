"""Photographs, masks, pairs and the generated street: what training and the demo read. Imports `infer`."""
