"""Outside → frames. Each collector is a plugin; none knows another, nor more of the product than its nouns and ports."""
