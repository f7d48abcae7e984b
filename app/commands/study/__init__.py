"""The commands `study ...`: a blind survey of methods."""
