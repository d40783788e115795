"""Acting: what a library may name, scripted cooks, and episodes. No model is called here."""
