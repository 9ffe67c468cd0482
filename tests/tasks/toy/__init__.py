"""Words that end in a vowel: what a task costs at least."""
