"""The ladder of translators: from a dictionary over one vector to attention."""
