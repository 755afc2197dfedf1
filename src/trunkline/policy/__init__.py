"""What is allowed and what should happen: decisions as pure functions of their arguments, the time included."""
