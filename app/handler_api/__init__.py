"""All that a handler may import from app."""
