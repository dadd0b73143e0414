"""Two arms of requests compared: who is in which, what is measured, and what follows from it."""
