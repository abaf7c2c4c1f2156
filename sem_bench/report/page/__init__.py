"""A suite as one HTML page that needs nothing beside itself: what it holds, from where, and its templates."""
