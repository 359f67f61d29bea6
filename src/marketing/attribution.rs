//! Whose a conversion is: how each model shares its credit and its value among the touches before it.
