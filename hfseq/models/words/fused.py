from .bag_text import text_features as text_features
