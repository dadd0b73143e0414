"""Which table to use: choices for each cell from costs and graded answers, and what they are worth."""
